/** The tags by which users of hosted conversion know an accelerated image. */

/** Suffix of the tag that a conversion makes by default. */
export const ACCELERATED_SUFFIX = '_accelerated';

/** Suffix of the second tag of full mode: containerd only, needs the base image. Ends in {@link ACCELERATED_SUFFIX}. */
export const CONTAINERD_SUFFIX = '_containerd_accelerated';
