/** References of images as users write them, damaged; and the headers of registries that are parsed as text. */
import { isDeepStrictEqual } from 'node:util';
import { formatReference, parseReference, parseRepository } from '../../../oci/reference.ts';
import { mergeScopes, parseChallenges } from '../../../oci/registry/challenge.ts';
import { parseTokenAnswer } from '../../../oci/registry/token.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import { demand, type FuzzTarget } from '../target.ts';

const DIGEST = `@sha256:${'0123456789abcdef'.repeat(4)}`;
const REFERENCES = [
  'alpine',
  'alpine:3.20',
  `registry.example.com:5000/team/app_x/a-b.c:1.2-rc_3${DIGEST}`,
  'localhost/app',
  '[::1]:5000/app:x',
  'docker.io/library/debian',
  'docker://ghcr.io/a/b:c',
  `oci:./some dir/layout:tag${DIGEST}`,
  'oci:/tmp/a@b:c/',
  'oci-archive:file.tar:latest',
  'docker-archive:/x/y.tar:repo',
];
const ALPHABET = [...Buffer.from(':/@.-_[]% \t\n\r\0azAZ09#?=&\x1b')];

/** References: what is accepted is safe in a URL and a header, and reads the same when written again. */
export const referenceTarget: FuzzTarget = {
  name: 'reference',
  codes: ['reference-invalid', 'tag-too-long'],
  cases: 10_000,
  async open() {
    return {
      make(random) {
        const bytes = mutateBytes(Buffer.from(random.pick(REFERENCES)), random, { alphabet: ALPHABET, block: 4 });
        return { bytes, mended: true };
      },
      check({ bytes }, random) {
        const text = Buffer.from(bytes).toString(random.oneIn(2) ? 'latin1' : 'utf8');
        const reference = parseReference(text);
        if (reference.kind === 'registry') {
          const url = new URL(`https://${reference.registry}/v2/${reference.repository}/manifests/x`);
          demand(url.pathname === `/v2/${reference.repository}/manifests/x`, `another path: ${url.pathname}`);
          demand(url.username === '' && url.search === '' && url.hash === '', `more than a host and a path: ${url}`);
        }
        demand(/^[\w.-]{0,128}$/.test(reference.tag ?? ''), `the tag ${JSON.stringify(reference.tag)}`);
        if (reference.kind === 'archive' && reference.tag === undefined) return;
        const again = parseReference(formatReference(reference));
        demand(isDeepStrictEqual(again, reference), `${JSON.stringify(reference)} reads as ${JSON.stringify(again)}`);
        if (random.oneIn(3)) parseRepository(text);
      },
    };
  },
};

const HEADERS = [
  'Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:a/b:pull,push"',
  'Basic realm="x \\"y\\" z", Bearer realm=https://a/b, service = c',
  '{"token":"abc.def","expires_in":300,"issued_at":"2023-11-14T22:13:20Z"}',
  '{"access_token":"abc"}',
];

/** `WWW-Authenticate` and the answer of a token server: nothing of them may break a header that is made of it. */
export const challengeTarget: FuzzTarget = {
  name: 'challenge',
  codes: ['unauthorized'],
  cases: 5000,
  async open() {
    return {
      make(random) {
        const bytes = mutateBytes(Buffer.from(random.pick(HEADERS)), random, {
          alphabet: [...Buffer.from('",=\\ :{}[]\t\r\n\0a')],
          block: 8,
        });
        return {
          bytes: random.oneIn(50) ? Buffer.from(Buffer.from(bytes).toString('latin1').repeat(200)) : bytes,
          mended: true,
        };
      },
      check({ bytes }) {
        const text = Buffer.from(bytes).toString('latin1');
        const challenges = parseChallenges(text);
        const scopes = challenges.map(({ parameters }) => parameters.scope ?? '');
        demand(mergeScopes(scopes, scopes).length <= text.length, 'more scopes than characters');
        const { value, expires } = parseTokenAnswer(text, 1000, {});
        demand(/^[\x21-\x7e]+$/.test(value), 'a token that a header cannot hold');
        demand(expires > 1000, `a token that ended at ${expires}`);
      },
    };
  },
};
