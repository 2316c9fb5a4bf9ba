"""What the reader is made of: recordings to rows, errors to kinds, patience, and the measure of a piece's sound."""
