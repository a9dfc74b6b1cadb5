//! The generator behind `math.random`: xoshiro256**, the same numbers on every machine.
//!
//! It belongs to the interpreter and is part of a process's state. A fresh interpreter is seeded with 0; our runtime
//! seeds it from the process's first message (`math.randomseed`), as aos does.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::host::{Host, raise};

/// The generator's state.
#[derive(Clone)]
pub(super) struct Random([u64; 4]);

impl Random {
    /// A generator whose state is spread from a number by splitmix64, so that near seeds give unlike sequences.
    pub(super) fn seeded(seed: u64) -> Random {
        let mut state = seed;
        Random(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// The state, to be stored.
    pub(super) fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The state that was stored.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Random {
        let (words, _) = bytes.as_chunks::<8>();
        Random(std::array::from_fn(|place| words.get(place).map_or(0, |word| u64::from_le_bytes(*word))))
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number in `0..=max`, each as likely as the other.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        if max == u64::MAX {
            return self.bits();
        }
        let mask = u64::MAX >> max.leading_zeros().min(63);
        loop {
            let candidate = self.bits() & mask;
            if candidate <= max {
                return candidate;
            }
        }
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `math.random([m [, n]])`
pub(super) unsafe extern "C-unwind" fn random(l: *mut lua_State) -> c_int {
    unsafe {
        let (low, high) = match ffi::lua_gettop(l) {
            0 => {
                let fraction = Host::of(l).random.fraction();
                ffi::lua_pushnumber(l, fraction);
                return 1;
            }
            1 => (1, ffi::luaL_checkinteger(l, 1)),
            2 => (ffi::luaL_checkinteger(l, 1), ffi::luaL_checkinteger(l, 2)),
            _ => raise(l, c"wrong number of arguments"),
        };
        if low > high {
            raise(l, c"bad argument to 'random' (interval is empty)");
        }
        let offset = Host::of(l).random.up_to(high.wrapping_sub(low) as u64);
        ffi::lua_pushinteger(l, low.wrapping_add(offset as i64));
        1
    }
}

/// `math.randomseed(x)`
pub(super) unsafe extern "C-unwind" fn randomseed(l: *mut lua_State) -> c_int {
    unsafe {
        let seed = if ffi::lua_isinteger(l, 1) != 0 {
            ffi::luaL_checkinteger(l, 1) as u64
        } else {
            ffi::luaL_checknumber(l, 1).to_bits()
        };
        Host::of(l).random = Random::seeded(seed);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_published_algorithm() {
        let mut random = Random([1, 2, 3, 4]);
        let seen: Vec<u64> = (0..5).map(|_| random.bits()).collect();
        assert_eq!(seen, [11520, 0, 1509978240, 1215971899390074240, 1216172134540287360]);
    }

    #[test]
    fn numbers_stay_within_their_range_and_reach_its_ends() {
        let mut random = Random::seeded(7);
        let seen: std::collections::BTreeSet<u64> = (0..500).map(|_| random.up_to(5)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(random.up_to(0), 0);
        assert!((0..500).map(|_| random.fraction()).all(|x| (0.0..1.0).contains(&x)));
    }
}
