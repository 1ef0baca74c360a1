#![cfg_attr(fuzzing, no_main)]
forebay_fuzz::fuzz!(forebay_fuzz::response::run);
