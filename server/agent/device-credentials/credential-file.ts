/**
 * Keeps overlaybd's credential file (`/opt/overlaybd/cred.json`, its `credentialConfig` in mode `file`) as the node's credentials
 * are: 0600, written whole or not at all, and without an entry whose credential has gone. Entries of others are left alone; the
 * key `accel` of the file names ours.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { bytesSource } from '../../../base/byte-source.ts';
import { isRecord } from '../../../base/is-record.ts';
import { writeAtomically } from '../../../disk/write-atomically.ts';
import { type CredentialSource, HUB_NAMES } from './credential-sources.ts';

/** Parts and settings of {@link CredentialFile}. */
export interface CredentialFileOptions {
  readonly path: string;
  readonly source: CredentialSource;
  /** Hosts of the configured registries. */
  readonly registries: readonly string[];
  /** Milliseconds between two looks at the sources. */
  readonly every: number;
  readonly log: (line: string) => void;
}

/** See the head of the file. */
export class CredentialFile {
  readonly #o: CredentialFileOptions;

  constructor(options: CredentialFileOptions) {
    this.#o = options;
  }

  /** Updates the file again and again until the signal fires; a failure is logged once until it changes. */
  async run(signal: AbortSignal): Promise<void> {
    let last = '';
    while (!signal.aborted) {
      const problem = await this.update().then(
        () => '',
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      if (problem !== '' && problem !== last) this.#o.log(`${this.#o.path} is not written: ${problem}`);
      last = problem;
      await sleep(this.#o.every, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Brings the file up to date; false where it is already. Rejects when it cannot be read or written. */
  async update(): Promise<boolean> {
    const before = await this.#read();
    const { accel, auths, ...rest } = before.document;
    const ours = new Set(Array.isArray(accel) ? accel : []);
    const entries = Object.entries(isRecord(auths) ? auths : {}).filter(([host]) => !ours.has(host));
    const own = await this.#own();
    // An entry that somebody else wrote for the same host is theirs.
    const added = own.filter(([host]) => !entries.some(([other]) => other === host));
    if (added.length === 0 && ours.size === 0) return false;
    const document = {
      ...rest,
      auths: Object.fromEntries([...entries, ...added]),
      ...(added.length === 0 ? {} : { accel: added.map(([host]) => host) }),
    };
    const text = `${JSON.stringify(document, undefined, 2)}\n`;
    if (text === before.text) return false;
    await writeAtomically(this.#o.path, bytesSource(Buffer.from(text)).open(), { mode: 0o600 });
    return true;
  }

  async #own(): Promise<[string, { readonly auth: string }][]> {
    const own: [string, { readonly auth: string }][] = [];
    for (const registry of this.#o.registries) {
      const found = await this.#o.source.find(registry, '');
      if (found === undefined) continue;
      const auth = Buffer.from(`${found.username}:${found.password}`).toString('base64');
      for (const name of HUB_NAMES.includes(registry) ? HUB_NAMES : [registry]) own.push([name, { auth }]);
    }
    return own;
  }

  async #read(): Promise<{ readonly text: string; readonly document: Record<string, unknown> }> {
    const text = await readFile(this.#o.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return { text: '', document: {} };
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new Error('it is not JSON: repair or remove it');
    }
    if (!isRecord(value)) throw new Error('it is not a JSON object: repair or remove it');
    return { text, document: value };
  }
}
