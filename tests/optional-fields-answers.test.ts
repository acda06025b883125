/** As optional-fields.test.ts, for archives of docker save and for answers of registries, helpers and token servers. */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { digestOf } from '../oci/digest.ts';
import { encodeJson } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { openArchive } from '../oci/open-archive.ts';
import { findCredentials } from '../oci/registry/credentials.ts';
import { describeFailure } from '../oci/registry/errors.ts';
import { scripted } from '../oci/registry/testing/scripted-target.ts';
import { smallTar } from './support/converter.ts';
import { type Json, required, sweep } from './support/field-sweep.ts';
import { withTempDirectory } from './support/tools.ts';

const tar = smallTar(1);

describe('every field', () => {
  it('of manifest.json in an archive of docker save', () =>
    withTempDirectory(async (directory) => {
      const file = join(directory, 'saved.tar');
      const config = encodeJson({ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: [digestOf(tar)] } });
      const saved = [
        {
          Config: 'c.json',
          RepoTags: ['app:1'],
          Layers: ['l.tar'],
          Parent: '',
          LayerSources: { [digestOf(tar)]: { mediaType: OCI.layer, size: tar.length, digest: digestOf(tar) } },
        },
      ];
      const nulls = await sweep(saved, async (variant) => {
        const archive = new TarBuilder()
          .file('manifest.json', encodeJson(variant))
          .file('c.json', config)
          .file('l.tar', tar);
        await writeFile(file, archive.build());
        const target = await openArchive(file, 'docker');
        await target.images();
        await target.close();
      });
      expect(required(nulls)).toEqual(['0', '0.Config', '0.RepoTags.0', '0.Layers', '0.Layers.0']);
    }));

  it('of the answer of a credential helper', () =>
    withTempDirectory(async (home) => {
      const helper = join(home, 'docker-credential-test');
      await writeFile(helper, '#!/bin/sh\ncat "$HOME/answer"\n');
      await chmod(helper, 0o755);
      const config = JSON.stringify({ credsStore: 'test' });
      const env = { HOME: home, PATH: `${home}:${process.env.PATH}`, DOCKER_AUTH_CONFIG: config };
      const warnings: string[] = [];
      const answer = { ServerURL: 'example.com', Username: 'ann', Secret: 'hidden' };
      const nulls = await sweep(answer, async (variant) => {
        await writeFile(join(home, 'answer'), encodeJson(variant));
        await findCredentials('example.com', 'app', { env, warn: (message) => warnings.push(message) });
      });
      // A helper that answers nonsense is a warning, and the access anonymous.
      expect(required(nulls)).toEqual([]);
      expect(new Set(warnings)).toEqual(
        new Set([
          'credentials for example.com: the credential helper docker-credential-test failed: its answer lacks Username and Secret',
        ]),
      );
    }));

  it('of a list of referrers', async () => {
    let list: Json;
    const { target } = await scripted(() => ({ headers: { 'content-type': OCI.index }, body: encodeJson(list) }));
    const subject = { digest: digestOf(tar) };
    const entry = (text: string) => ({
      mediaType: OCI.manifest,
      digest: digestOf(Buffer.from(text)),
      size: 7,
      artifactType: 'application/x',
      annotations: { a: 'b' },
      platform: null,
    });
    const index = { schemaVersion: 2, mediaType: OCI.index, manifests: [entry('a'), entry('b')], annotations: null };
    const found: number[] = [];
    const nulls = await sweep(index, async (variant) => {
      list = variant;
      // Only the list at the API counts here, also where it turns out empty.
      const before = found.length;
      await target.referrers(subject).then((entries) => found.push(entries.length));
      expect(found.length).toBe(before + 1);
    });
    expect(required(nulls)).toEqual([]);
    list = { ...index, manifests: [null, entry('a'), { ...entry('b'), size: '7' }] };
    expect(await target.referrers(subject)).toMatchObject([{ digest: entry('a').digest }]);
  });

  it('of the body of a failure', async () => {
    const body = { errors: [{ code: 'DENIED', message: 'no', detail: { Type: 'repository', Name: 'app' } }] };
    await sweep(body, (variant) => {
      const said = describeFailure({ status: 403, body: Buffer.from(encodeJson(variant)).toString() });
      // An empty list says as little as no body.
      expect(said).toMatch(/^HTTP 403(: .| without a body$)/);
      expect(said).not.toContain('[object');
    });
    const token = { details: 'incorrect username or password', error: 'invalid_grant', message: 'no' };
    await sweep(token, (variant) => {
      expect(describeFailure({ status: 401, body: Buffer.from(encodeJson(variant)).toString() })).toMatch(
        /^HTTP 401(: .| without a body$)/,
      );
    });
  });
});
