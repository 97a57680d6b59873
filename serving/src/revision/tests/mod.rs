mod changes;
mod conditions;
mod fixed_point;
mod objects;
mod pods;
mod world;
