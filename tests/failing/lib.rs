//! Nothing: the tests are the program.
