/**
 * The Node that runs server/ and its tests, which needs a newer one than the rest of the project. Where the running Node
 * is too old, npm's package of the binary is fetched once into a cache outside of the clone: `npm ci` does not wait for it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fetchNodeOfNpm, toolCache } from './node-of-npm.ts';

/** The version that is fetched; the first number is the oldest major version that the server runs on. */
export const SERVER_NODE = '24.21.0';
/** The oldest major version of Node that server/ runs on. */
export const SERVER_NODE_MAJOR = Number.parseInt(SERVER_NODE, 10);

/** The program of a Node that server/ runs on; it is there once {@link fetchServerNode} has ended. */
export function serverNode(): string {
  return isNewEnough() ? process.execPath : join(cacheFolder(), 'node');
}

/** Fetches that Node where the running one is too old and no earlier run has fetched it. */
export async function fetchServerNode(): Promise<void> {
  if (existsSync(serverNode())) return;
  await fetchNodeOfNpm(packageName(), cacheFolder());
}

function isNewEnough(): boolean {
  return Number.parseInt(process.versions.node, 10) >= SERVER_NODE_MAJOR;
}

function packageName(): string {
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  return `node-${platform}-${process.arch}@${SERVER_NODE}`;
}

function cacheFolder(): string {
  return join(toolCache(), packageName());
}
