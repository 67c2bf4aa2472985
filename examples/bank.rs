//! A bank whose books balance, although one of its tellers is killed in the middle of a transfer.
//!
//! Each account is a lock with the balance inside. A transfer takes both of its accounts at once,
//! by `lock_all`, so tellers can never wait for each other in a cycle. Before a teller touches the
//! money it notes both balances on its slip, in memory that all can see. Whoever comes to an account
//! that a dead teller has left is told so, looks for the slip, and puts back what was there.

use std::error::Error;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};

use offspring::shm::{Shareable, Shared};
use offspring::sync::{LockAllError, Mutex, MutexGuard, lock_all};
use offspring::{Process, Sender, process};

const ACCOUNTS: usize = 8;
const TELLERS: usize = 5;
const TRANSFERS: u32 = 2_000;
const OPENING_BALANCE: i64 = 1_000;

/// The number of no account.
const REPAIRED: usize = usize::MAX;

/// A teller's note of the transfer that it is at.
///
/// It names an account only while its teller has that account locked. So whoever has an account
/// locked and finds it on a slip knows that this teller is dead.
#[derive(Default, Shareable)]
struct Slip {
    counts: AtomicBool,
    accounts: [AtomicUsize; 2],
    balances: [AtomicI64; 2],
}

impl Slip {
    fn open(&self, accounts: [usize; 2], balances: [i64; 2]) {
        for side in 0..2 {
            self.accounts[side].store(accounts[side], Relaxed);
            self.balances[side].store(balances[side], Relaxed);
        }
        self.counts.store(true, Release);
    }

    fn close(&self) {
        self.counts.store(false, Release);
    }

    /// Which side of the transfer this account is, if it is one.
    fn side_of(&self, account: usize) -> Option<usize> {
        let counts = self.counts.load(Acquire);
        (0..2).find(|&side| counts && self.accounts[side].load(Relaxed) == account)
    }
}

/// What everybody in the bank shares.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Bank {
    accounts: Vec<Mutex<i64>>,
    ledger: Shared<[Slip]>,
}

impl Bank {
    fn new() -> offspring::Result<Self> {
        let accounts =
            (0..ACCOUNTS).map(|_| Mutex::new(OPENING_BALANCE)).collect::<Result<_, _>>()?;
        let ledger = Shared::from_fn(TELLERS, |_| Slip::default())?;
        Ok(Self { accounts, ledger })
    }

    /// Locks some of the accounts, and puts right those that a dead teller has left.
    fn lock(&self, numbers: &[usize]) -> Vec<MutexGuard<'_, i64>> {
        let accounts: Vec<_> = numbers.iter().map(|number| &self.accounts[*number]).collect();
        let poisoned = match lock_all(&accounts[..]) {
            Ok(guards) => return guards,
            Err(LockAllError::Poisoned(poisoned)) => poisoned,
            Err(other) => panic!("{other}"),
        };
        let me = offspring::current();
        println!("  {} is told: {} died in mid-transfer", me.name(), poisoned.holder());
        let mut guards = poisoned.into_inner();
        for (balance, &number) in guards.iter_mut().zip(numbers) {
            if self.accounts[number].is_poisoned() {
                self.repair(number, balance);
                self.accounts[number].clear_poison();
            }
        }
        guards
    }

    fn repair(&self, number: usize, balance: &mut i64) {
        let found = self.ledger.iter().find_map(|slip| Some((slip, slip.side_of(number)?)));
        // Without a slip, it was killed before it touched the money, or when all was done.
        if let Some((slip, side)) = found {
            let before = slip.balances[side].load(Relaxed);
            println!("  account {number} holds {balance}, its slip says {before}: put back");
            *balance = before;
            slip.accounts[side].store(REPAIRED, Relaxed);
        }
    }
}

#[process]
struct Teller {
    bank: Bank,
    number: usize,
    /// If it has one, it stops in the middle of a transfer, says so here, and goes no further.
    fate: Option<Sender<()>>,
}

impl Process for Teller {
    type Output = u32;

    fn run(self) -> u32 {
        let slip = &self.bank.ledger[self.number];
        let mut random = self.number as u64 * 7_919 + 12_345;
        let mut done = 0;
        for turn in 1..=TRANSFERS {
            // By xorshift.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let from = (random >> 8) as usize % ACCOUNTS;
            let to = (from + 1 + (random >> 24) as usize % (ACCOUNTS - 1)) % ACCOUNTS;

            let mut guards = self.bank.lock(&[from, to]);
            let amount = ((random >> 40) as i64 % 300).min(*guards[0]);
            slip.open([from, to], [*guards[0], *guards[1]]);
            *guards[0] -= amount;
            if let Some(fate) = &self.fate
                && amount > 0
                && turn > TRANSFERS / 2
            {
                fate.send(()).expect("somebody waits for it");
                std::thread::park();
            }
            *guards[1] += amount;
            slip.close();
            done += 1;
        }
        done
    }
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let bank = Bank::new()?;
    let (fate, in_mid_transfer) = offspring::pipe()?;
    let unlucky = Teller { bank: bank.clone(), number: 0, fate: Some(fate) }.spawn()?;
    let tellers: Vec<_> = (1..TELLERS)
        .map(|number| Teller { bank: bank.clone(), number, fate: None }.spawn())
        .collect::<Result<_, _>>()?;

    in_mid_transfer.recv()?;
    unlucky.kill()?;
    println!("  {}", unlucky.join().expect_err("it was killed"));
    for teller in tellers {
        let name = teller.name().to_owned();
        println!("  {name} has made {} transfers", teller.join()?);
    }

    // Everything at once, so that nothing moves meanwhile.
    let all: Vec<usize> = (0..ACCOUNTS).collect();
    let sum: i64 = bank.lock(&all).iter().map(|balance| **balance).sum();
    let opened_with = OPENING_BALANCE * ACCOUNTS as i64;
    println!("  the accounts hold {sum}, and held {opened_with}: the books balance");
    assert_eq!(sum, opened_with);
    Ok(())
}
