/** Licences of the npm packages in a bundle of esbuild. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';
import { projectRoot } from './project-root.ts';

const root = projectRoot(import.meta.url);
/** Code inside packages' WebAssembly whose licence they do not bring: scripts/licenses has it. */
const INSIDE: Readonly<Record<string, string>> = { '@hpcc-js/wasm-zstd': 'zstd', undici: 'llhttp' };

/** Folders of the npm packages of which something is in the bundle. */
export function packagesOf({ inputs }: Metafile): string[] {
  return Object.keys(inputs).flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
}

/** The texts of all licences under a title; throws for a package that brings none. */
export function licenseTexts(title: string, folders: readonly string[]): string {
  const parts = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const file = readdirSync(join(root, folder)).find((entry) => /^licen[cs]e(\.(md|txt))?$/i.test(entry));
    if (file === undefined)
      throw new Error(`${name} has no licence file: leave it out of the bundle, or add its text here`);
    const inside = INSIDE[name];
    const texts = [readFileSync(join(root, folder, file), 'utf8')];
    if (inside !== undefined)
      texts.push(`It contains ${inside}:\n`, readFileSync(join(root, `scripts/licenses/${inside}.txt`), 'utf8'));
    return `${name} ${version} (${license})\n\n${texts.map((text) => text.trim()).join('\n\n')}\n`;
  });
  return `${title}\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}
