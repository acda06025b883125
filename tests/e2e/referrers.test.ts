/**
 * Signatures and bills of materials on real registries, with cosign as the judge: what was attached to the source verifies after a conversion, the
 * result verifies once it is signed by the recipe of docs/signatures.md, and prune removes what accel attached.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadManifest } from '../../oci/document.ts';
import { referrerTag } from '../../oci/referrers.ts';
import { openRegistry, type RegistryTarget } from '../../oci/registry/registry-target.ts';
import { accel } from '../support/accel.ts';
import { attachReferrer, attachTag } from '../support/attach.ts';
import { fileLayer, pushImage } from '../support/many-images.ts';
import { type RegistryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { describeWith, requireTool, run, type TempDirectory, tempDirectory } from '../support/tools.ts';

/** Signing without a transparency log, in the form of cosign 3 (a bundle as a referrer) and in that of cosign 2 (a tag). */
const OFFLINE = ['--use-signing-config=false', '--tlog-upload=false', '--allow-http-registry', '--yes'];
const SPDX = {
  type: 'application/spdx+json',
  artifactType: 'application/spdx+json',
  content: '{"spdxVersion":"SPDX-2.3"}',
};

/** The parts of `--json` that this test looks at. */
interface Converted {
  readonly repository: string;
  readonly tags: readonly { readonly digest: string; readonly upToDate: boolean }[];
  readonly referrers: readonly { kind: string; action: string; made: readonly { upToDate: boolean }[] }[];
}

const REGISTRIES: readonly (readonly [RegistryProgram, ociSubject?: boolean])[] = [
  ['docker-registry'],
  ['distribution-3'],
  ['referrers-registry'],
  ['referrers-registry', true],
];

for (const [program, ociSubject = false] of REGISTRIES) {
  const title = `referrers on ${program}${ociSubject ? ' with OCI-Subject' : ''}`;
  describeWith({ tools: [program, 'cosign', 'jq', 'xargs'] }, title, () => {
    let registry: TestRegistry;
    let scratch: TempDirectory;
    let target: RegistryTarget;
    let source: string;

    const cosign = async (args: readonly string[]): Promise<string> => {
      const { stdout } = await run(requireTool('cosign'), args, {
        cwd: scratch.path,
        env: { ...process.env, COSIGN_PASSWORD: 'x', HOME: scratch.path },
      });
      return stdout.toString('utf8');
    };
    const image = (digest: string): string => `${target.name}@${digest}`;
    const verify = (digest: string, ...more: string[]): Promise<string> =>
      cosign([
        ...['verify', '--key', 'cosign.pub', '--insecure-ignore-tlog', '--allow-http-registry'],
        ...more,
        image(digest),
      ]);
    const convert = async (): Promise<Converted> => {
      const { stdout } = await accel(['convert', `${target.name}:1`, '--copy-referrers', '--plain', '--json']);
      return JSON.parse(stdout) as Converted;
    };

    /** By the manifests: the API of go-containerregistry gives the type of the config. */
    const typesOf = async (subject: string): Promise<(string | undefined)[]> => {
      const listed = await target.referrers({ digest: subject });
      return Promise.all(listed.map(async (entry) => (await loadManifest(target, entry)).artifactType));
    };

    beforeAll(async () => {
      scratch = await tempDirectory();
      registry = await startRegistry({ program, ociSubject });
      target = await openRegistry({ registry: registry.host, repository: 'team/app' }, { plain: true });
      source = await pushImage(target, '1', [fileLayer('base', 50_000), fileLayer('app', 5000)]);
      await cosign(['generate-key-pair']);
      await cosign(['sign', '--key', 'cosign.key', ...OFFLINE, image(source)]);
      await cosign(['sign', '--key', 'cosign.key', '--new-bundle-format=false', ...OFFLINE, image(source)]);
      const base = await target.resolve(source);
      await attachReferrer(target, base, SPDX);
      await attachTag(target, base, 'sbom', { ...SPDX, type: 'text/spdx+json' });
    });
    afterAll(async () => {
      await target?.close();
      await registry?.stop();
      await scratch?.remove();
    });

    test('signed, converted, signed again by the recipe, pruned', async () => {
      const first = await convert();
      expect(first.referrers.map(({ kind, action }) => `${kind} ${action}`).sort()).toEqual([
        ...['sbom copied', 'sbom copied', 'signature linked', 'signature linked'],
      ]);
      const [full] = first.tags;
      // The source verifies as before, in both forms of cosign; the result has no signature that would pass for one.
      await verify(source);
      await verify(source, '--new-bundle-format=false');
      await expect(verify(full!.digest)).rejects.toThrow();

      // The recipe of the page, with what a registry without TLS and a test without a log need beside it.
      const page = readFileSync(join(import.meta.dirname, '../../docs/signatures.md'), 'utf8');
      const recipe = page.split('\n').filter((line) => /^(jq|xargs) /.test(line));
      expect(recipe).toHaveLength(3);
      const { stdout } = await accel(['convert', `${target.name}:1`, '--copy-referrers', '--plain', '--json']);
      const script = recipe
        .join('\n')
        .replace('cosign sign --yes', `cosign sign ${OFFLINE.join(' ')}`)
        .replace('cosign verify', 'cosign verify --insecure-ignore-tlog --allow-http-registry')
        .replaceAll(' cosign ', ` ${requireTool('cosign')} `);
      await run('sh', ['-euc', `cat > accelerated.json\n${script}`], {
        cwd: scratch.path,
        env: { ...process.env, COSIGN_PASSWORD: 'x', HOME: scratch.path },
        input: stdout,
      });
      for (const { digest } of first.tags) expect(await verify(digest)).toContain(digest);

      // Signed, the result is still up to date, and nothing is attached again.
      const second = await convert();
      expect(second.tags.map(({ upToDate, digest }) => [upToDate, digest])).toEqual(
        first.tags.map(({ digest }) => [true, digest]),
      );
      expect(second.referrers.flatMap(({ made }) => made).every(({ upToDate }) => upToDate)).toBe(true);
      const sbom = await target.resolve(`${referrerTag(full!.digest)}.sbom`);
      expect((await loadManifest(target, sbom)).annotations).toMatchObject({ 'accel-image/attached-to': full!.digest });

      const inspected = await accel(['inspect', `${target.name}:1_accelerated`, '--referrers', '--plain', '--json']);
      const { referrers } = JSON.parse(inspected.stdout) as {
        referrers: { of: string; kind: string; about: string }[];
      };
      expect(referrers.map(({ of, kind, about }) => `${of} ${kind} ${about}`).sort()).toEqual([
        'image link digest',
        'image sbom content',
        'image sbom content',
        'image signature digest',
        'source sbom content',
        'source sbom content',
        'source signature digest',
        'source signature digest',
      ]);

      // The base moves, and is converted again: the old result goes with its copies. The signature is a person's.
      await target.tag(await target.resolve(await pushImage(target, 'next', [fileLayer('other', 100)])), '1');
      await accel(['prune', target.name, '--yes', '--plain']);
      expect(await typesOf(full!.digest)).toEqual(['application/vnd.dev.sigstore.bundle.v0.3+json']);
      await expect(target.resolve(sbom.digest)).rejects.toMatchObject({ code: 'not-found' });
      await verify(source);
      expect(await typesOf(source)).toContain(SPDX.artifactType);
      await target.resolve(`${referrerTag(source)}.sbom`);
    });
  });
}
