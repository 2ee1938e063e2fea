pub mod parsed;
pub use parsed::*;
