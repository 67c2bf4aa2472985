//! Nothing: the tests are programs.
