import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeCertificates } from '../../../tests/support/registry.ts';
import { describeWith, type TempDirectory, tempDirectory } from '../../../tests/support/tools.ts';
import { eventually } from '../testing/kube-cluster.ts';
import { fileCertificates } from './file-certificates.ts';
import { serveAdmission } from './serve-admission.ts';

describeWith({ tools: ['openssl'] }, 'the certificate of the webhook', () => {
  let folder: TempDirectory;
  let other: TempDirectory;
  let files: { certFile: string; keyFile: string };
  const log: string[] = [];

  beforeEach(async () => {
    [folder, other] = [await tempDirectory(), await tempDirectory()];
    const { cert, key } = await makeCertificates(folder.path);
    files = { certFile: cert, keyFile: key };
    await makeCertificates(other.path);
    log.length = 0;
  });
  afterEach(() => Promise.all([folder.remove(), other.remove()]));

  /** Asks once, trusting one authority; the serial number of the certificate, or why it was not trusted. */
  const ask = async (port: number, authority: TempDirectory): Promise<string> => {
    const ca = await readFile(join(authority.path, 'ca.crt'));
    return new Promise((resolve) => {
      const asked = request({ host: '127.0.0.1', port, path: '/healthz', ca, agent: false }, (answer) => {
        answer.resume();
        resolve((answer.socket as TLSSocket).getPeerCertificate().serialNumber);
      });
      asked.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
      asked.end();
    });
  };

  it('is replaced without a restart, when both files are whole', async () => {
    const source = await fileCertificates(files, (line) => log.push(line), 20);
    const server = await serveAdmission({ review: async () => ({}) }, source, { host: '127.0.0.1', port: 0 });
    try {
      const first = await ask(server.port, folder);
      expect(first).toMatch(/^[0-9A-F]+$/);
      expect(await ask(server.port, other)).not.toMatch(/^[0-9A-F]+$/);
      await copyFile(join(other.path, 'server.crt'), files.certFile);
      await eventually(async () => log.some((line) => line.includes('stays as it was')));
      expect(await ask(server.port, folder)).toBe(first);
      await copyFile(join(other.path, 'server.key'), files.keyFile);
      await eventually(async () => log.some((line) => line.includes('read again')));
      expect(await ask(server.port, other)).toMatch(/^[0-9A-F]+$/);
      expect(await ask(server.port, folder)).not.toMatch(/^[0-9A-F]+$/);
    } finally {
      await server.close();
      await source.close();
    }
  });

  it.each([
    ['no PEM', 'x'],
    ['an empty file', ''],
  ])('cannot begin with %s', async (_, text) => {
    await writeFile(files.certFile, text);
    await expect(fileCertificates(files, () => undefined)).rejects.toMatchObject({
      code: 'usage',
      where: { path: files.certFile },
    });
  });

  it('cannot begin with the key of another certificate, and the error has no key', async () => {
    await copyFile(join(other.path, 'server.key'), files.keyFile);
    const error = await fileCertificates(files, () => undefined).catch((one: unknown) => one as Error);
    expect(error).toMatchObject({ found: 'the key is of another certificate' });
    expect(JSON.stringify(error)).not.toContain('PRIVATE');
  });
});
