/** The index of a gzip stream as plain data that may cross threads. */

/** Where a gzip stream can be taken up: a boundary between two deflate blocks (docs/formats.md §5). */
export interface SeekPoint {
  /** Bytes of output before it (`de_pos`). */
  readonly outputOffset: number;
  /** Bytes of the file consumed, a partly used byte included (`en_pos`). */
  readonly inputOffset: number;
  /** Unused bits of the last consumed byte, 0 to 7 (`bits`). */
  readonly bits: number;
  /**
   * The 32 KiB of output before it as a zlib stream, or what fetches that. Bytes that nothing behind the point reads are
   * zero.
   */
  readonly window: Uint8Array | (() => Promise<Uint8Array>);
}

/** A {@link SeekPoint} whose window is in memory. */
export interface AccessPoint extends SeekPoint {
  readonly window: Uint8Array;
}

/** The index of one gzip file. */
export interface GzipIndex<P extends SeekPoint = AccessPoint> {
  /** Bytes of output that two access points are meant to be apart. */
  readonly span: number;
  /** Size of the gzip file. */
  readonly compressedSize: number;
  /** Size of what it decompresses to. */
  readonly uncompressedSize: number;
  /** In order; the first one is at output offset 0. */
  readonly points: readonly P[];
}

/** An index whose windows need not be in memory. */
export type SeekIndex = GzipIndex<SeekPoint>;
