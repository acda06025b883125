/** The image whose content nobody here wrote: Debian, built by fixtures/real-image/build.sh. */
import { accessSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, isRoot, run } from './tools.ts';

/** The tools that building it needs. */
export const REAL_IMAGE_TOOLS: readonly string[] = ['debootstrap', 'umoci', 'setfacl', 'setfattr'];

/** Milliseconds that a build may take; a test's hook needs as much. */
export const REAL_IMAGE_TIMEOUT = 600_000;

const DIRECTORY = process.env.ACCEL_REAL_IMAGE ?? join(tmpdir(), 'accel-real-image');

/** The reason why the real image is not available, or undefined: it is built already, or can be built here. */
export function realImageMissing(): string | undefined {
  if (isBuilt()) return undefined;
  // It takes minutes and a Debian mirror: unasked only where everything is to be proven.
  if (!process.env.CI) return 'not built: fixtures/real-image/build.sh';
  const missing = REAL_IMAGE_TOOLS.filter((tool) => findTool(tool) === undefined);
  if (!isRoot()) missing.push('root');
  return missing.length === 0 ? undefined : `cannot be built without ${missing.join(', ')}`;
}

/** The OCI layout with the image under the tag `latest`, built if it does not exist yet. */
export async function realImage(): Promise<string> {
  if (!isBuilt()) {
    const script = join(import.meta.dirname, '../../fixtures/real-image/build.sh');
    await run(script, [DIRECTORY], { timeout: REAL_IMAGE_TIMEOUT });
  }
  return DIRECTORY;
}

function isBuilt(): boolean {
  try {
    accessSync(join(DIRECTORY, '.complete'));
    return true;
  } catch {
    return false; // Absent or half built: both are answered by building it.
  }
}
