mod certificates;
mod failures;
mod pools;
