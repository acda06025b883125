/** Why the inflate kernel returned; the TypeScript side knows the faults by their order (formats/kernels/inflate.ts). */

/** More input is needed. */
export const NEEDS_INPUT: i32 = 0;
/** The output is full. */
export const OUTPUT_FULL: i32 = 1;
/** A block ended that is not the last. */
export const BOUNDARY: i32 = 2;
/** The last block ended. */
export const END: i32 = 3;
/** Block type 3. */
export const BAD_BLOCK_TYPE: i32 = -1;
/** A stored length and its complement differ. */
export const BAD_STORED_LENGTH: i32 = -2;
/** More than 286 literal/length or 30 distance codes. */
export const TOO_MANY_SYMBOLS: i32 = -3;
/** The code of the code lengths is over-subscribed or incomplete. */
export const BAD_PRECODE: i32 = -4;
/** A repeat of nothing, or past the last code. */
export const BAD_REPEAT: i32 = -5;
/** No code for the end of the block. */
export const NO_END_OF_BLOCK: i32 = -6;
/** The literal/length code is over-subscribed or incomplete. */
export const BAD_LITERAL_CODE: i32 = -7;
/** The distance code is. */
export const BAD_DISTANCE_CODE: i32 = -8;
/** Bits that are no literal/length code. */
export const BAD_LENGTH_SYMBOL: i32 = -9;
/** Bits that are no distance code. */
export const BAD_DISTANCE_SYMBOL: i32 = -10;
/** A match that starts before the output. */
export const TOO_FAR_BACK: i32 = -11;
/** The final input ends inside the stream. */
export const TRUNCATED: i32 = -12;
