/** Things that are left out for a reason: the reason is said once, not once for each of them. */
import { PLAIN_STYLE, type Style } from './terminal.ts';
import { printable, shortDigest } from './text.ts';

/** The entries by their reason, in the order in which the reasons come first. */
export function byReason<T extends { readonly reason: string }>(entries: readonly T[]): ReadonlyMap<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const entry of entries) groups.set(entry.reason, [...(groups.get(entry.reason) ?? []), entry]);
  return groups;
}

/** A line for each reason for which manifests were skipped. */
export function skippedLines(
  skipped: readonly { readonly platform: string; readonly digest: string; readonly reason: string }[],
  style: Style = PLAIN_STYLE,
): string[] {
  return [...byReason(skipped)].map(([reason, entries]) => {
    const named = entries.map(({ platform, digest }) => `${printable(platform)} ${shortDigest(digest)}`).join(', ');
    return `${style.yellow('skipped')} ${named}: ${printable(reason)}`;
  });
}
