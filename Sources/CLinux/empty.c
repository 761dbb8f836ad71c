// Filled by the headers beside it.
