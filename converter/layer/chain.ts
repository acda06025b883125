/** Chain IDs (OCI image-spec, config.md): the identity of a layer and everything below it. */
import { digestOf } from '../../oci/digest.ts';

/** The chain IDs of layers by their diff_ids, lowest first. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

/** The UUID that the reference derives from a chain ID: its first 32 hex digits as 8-4-4-4-12. */
export function chainUuid(chainId: string): string {
  const hex = chainId.slice(chainId.indexOf(':') + 1);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}
