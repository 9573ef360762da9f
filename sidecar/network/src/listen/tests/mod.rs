mod bounds;
mod ends;
mod idle;
mod protocols;
mod strangers;
