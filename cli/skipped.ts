/** The manifests that a conversion leaves out: each reason once, however many it is for. */
import { formatCount } from './format.ts';
import { printable, shortDigest } from './text.ts';

/** A manifest that was left out. */
interface SkippedManifest {
  readonly digest: string;
  readonly platform: string;
}

/** Manifests that were left out for one reason. */
export interface SkippedGroup {
  readonly reason: string;
  readonly manifests: readonly SkippedManifest[];
}

/** Platforms that are named before the rest is counted. */
const MAX_NAMED = 6;

/** Groups by reason, in the order in which the reasons first occur. */
export function groupSkipped(skipped: readonly (SkippedManifest & { readonly reason: string })[]): SkippedGroup[] {
  const groups = new Map<string, SkippedManifest[]>();
  for (const { reason, ...manifest } of skipped) {
    const group = groups.get(reason);
    if (group === undefined) groups.set(reason, [manifest]);
    else group.push(manifest);
  }
  return [...groups].map(([reason, manifests]) => ({ reason, manifests }));
}

/** What was left out: platform and digest of one manifest, or how many and of which platforms. */
export function skippedNames({ manifests }: SkippedGroup): string {
  const [first] = manifests;
  if (first !== undefined && manifests.length === 1) return `${printable(first.platform)} ${shortDigest(first.digest)}`;
  const platforms = [...new Set(manifests.map(({ platform }) => printable(platform)))];
  const rest = platforms.length > MAX_NAMED ? `, and ${platforms.length - MAX_NAMED} more` : '';
  return `${formatCount(manifests.length, 'manifest')} (${platforms.slice(0, MAX_NAMED).join(', ')}${rest})`;
}
