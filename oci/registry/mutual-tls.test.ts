import { copyFile, readFile, rename } from 'node:fs/promises';
import { createServer } from 'node:https';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Loopback, listen } from '../../tests/support/loopback.ts';
import { makeCertificates } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { rejects } from '../contract.ts';
import type { RegistryOptions } from './registry-options.ts';
import { openRegistry } from './registry-target.ts';

const fast = { sleep: async () => undefined, attempts: 2 };

describeWith(
  { tools: ['openssl'] },
  'a server that demands a client certificate (Harbor, Artifactory behind mTLS)',
  () => {
    let directory: TempDirectory;
    let loopback: Loopback | undefined;
    let host = '';
    let ca = '';
    const subjects: string[] = [];

    beforeAll(async () => {
      directory = await tempDirectory();
      const files = await makeCertificates(directory.path);
      ca = files.ca;
      const key = path.join(directory.path, 'client.key');
      const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
      const signed = ['-CA', ca, '-CAkey', path.join(directory.path, 'ca.key'), '-days', '2', '-subj', '/CN=ann'];
      await run('openssl', ['req', '-x509', ...newKey, '-out', path.join(directory.path, 'client.cert'), ...signed]);
      const stranger = [
        '-keyout',
        path.join(directory.path, 'stranger.key'),
        '-out',
        path.join(directory.path, 'stranger.pem'),
      ];
      await run('openssl', [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        ...stranger,
        '-days',
        '2',
        '-subj',
        '/CN=eve',
      ]);
      const server = createServer(
        {
          cert: await readFile(files.cert),
          key: await readFile(files.key),
          ca: await readFile(ca),
          requestCert: true,
          rejectUnauthorized: true,
        },
        (request, response) => {
          subjects.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN));
          response.writeHead(404).end();
        },
      );
      loopback = await listen(server);
      host = loopback.host;
    });
    afterAll(async () => {
      await loopback?.stop();
      await directory?.remove();
    });

    const ask = async (options: RegistryOptions, code: 'not-found' | 'registry-unreachable') => {
      const target = await openRegistry(
        { registry: host, repository: 'app' },
        { env: { HOME: '/nonexistent' }, rootCa: ca, runtime: fast, ...options },
      );
      const error = await rejects(target.resolve('v1'), code);
      await target.close();
      return error;
    };
    const at = (name: string) => path.join(directory.path, name);

    test('--client-cert CERT:KEY is shown', async () => {
      subjects.length = 0;
      await ask({ clientCert: `${at('client.cert')}:${at('client.key')}` }, 'not-found');
      expect(new Set(subjects)).toEqual(new Set(['ann']));
    });

    test('--cert-dir in Docker’s form is shown', async () => {
      const folder = await tempDirectory();
      for (const name of ['client.cert', 'client.key']) await copyFile(at(name), path.join(folder.path, name));
      subjects.length = 0;
      await ask({ certDir: folder.path }, 'not-found');
      expect(new Set(subjects)).toEqual(new Set(['ann']));
      await rename(path.join(folder.path, 'client.key'), path.join(folder.path, 'other.key'));
      await rejects(openRegistry({ registry: host, repository: 'app' }, { certDir: folder.path }), 'usage');
      await folder.remove();
    });

    test('without one, or with one of another authority, the door stays shut', async () => {
      await ask({}, 'registry-unreachable');
      await ask({ clientCert: `${at('stranger.pem')}:${at('stranger.key')}` }, 'registry-unreachable');
    });
  },
);
