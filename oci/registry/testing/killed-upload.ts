/** The suite of a registry that is killed in the middle of an upload and comes back. */
import { expect, test } from 'vitest';
import type { TestRegistry } from '../../../tests/support/registry.ts';
import { fetchBytes } from '../../content.ts';
import { blob, noise } from '../../contract.ts';
import { openRegistry } from '../registry-target.ts';

/** Declares the tests, whole uploads and chunked ones; `registry` is called when they run. */
export function killedUploads(registry: () => TestRegistry): void {
  test.each([undefined, 100_000])(
    'killed in the middle of an upload, chunk size %s: pushed all the same',
    async (chunkSize) => {
      const warnings: string[] = [];
      const target = await openRegistry(
        { registry: registry().host, repository: 'killed' },
        {
          plain: true,
          env: { HOME: '/nonexistent', PATH: process.env.PATH },
          warn: (text) => warnings.push(text),
          ...(chunkSize === undefined ? {} : { chunkSize }),
        },
      );
      const bytes = noise(1_000_000, chunkSize ?? 1);
      let opened = 0;
      const source = {
        async *open() {
          opened += 1;
          for (let at = 0; at < bytes.length; at += 50_000) {
            if (at === 450_000 && opened === 1) await registry().restart();
            yield bytes.slice(at, at + 50_000);
          }
        },
      };
      expect(await target.push(blob(bytes), source)).toBe('pushed');
      expect(opened).toBeGreaterThan(1);
      expect(Buffer.from(await fetchBytes(target, blob(bytes), 2e6)).equals(bytes)).toBe(true);
      expect(warnings).toEqual([]);
      await target.close();
    },
  );
}
