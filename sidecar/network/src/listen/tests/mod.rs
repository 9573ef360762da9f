mod bounds;
mod ends;
mod fates;
mod idle;
mod protocols;
mod strangers;
mod ways;
