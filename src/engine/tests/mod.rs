//! Tests of the engine with trivial kinds: whole builds in a folder of their own, and what they ran.

mod damage;
mod effects;
mod failure;
mod fresh;
mod kinds;
mod large;
mod out;
mod parallel;
mod pinned;
mod plans;
mod rehearsals;
mod shared;
mod space;
