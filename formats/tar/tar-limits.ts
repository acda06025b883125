/** Bounds of the parser for archives that may be hostile. */

/** Bounds on what one archive may ask for; going past one is an error of code `limit-exceeded`. */
export interface TarLimits {
  /** Bytes of one extension header (PAX `x` and `g`, GNU `L` and `K`), which is held in memory. */
  readonly extensionBytes: number;
  /** Logical size of a file in bytes. */
  readonly fileSize: number;
  /** Data runs of one sparse file. */
  readonly sparseRuns: number;
  /** Bytes of the whole archive, both those that come and those that a header announces. */
  readonly archiveBytes: number;
}

/**
 * The defaults. 1 MiB of extension header is also where Go's archive/tar stops, and so what container runtimes take;
 * 16 TiB is the largest file of an ext4 with 4 KiB blocks; 262,144 runs are as many as a 1 MiB map can hold; 256 GiB are
 * several times what registries take as one layer.
 */
export const DEFAULT_TAR_LIMITS: TarLimits = {
  extensionBytes: 1 << 20,
  fileSize: 2 ** 44,
  sparseRuns: 1 << 18,
  archiveBytes: 2 ** 38,
};
