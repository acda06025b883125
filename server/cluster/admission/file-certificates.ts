/** A certificate in files, which is read again when they change: cert-manager and kubelet replace them in place. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AccelError, asAccelError } from '../../../base/error.ts';
import { hideSecret } from '../../../base/secrets.ts';
import type { CertificateSource, ServerCertificate } from './serve-admission.ts';

/** Milliseconds between two looks at the files. */
const LOOK_EVERY = 10_000;

/** Reads the files, and looks at them again until it is closed. Throws `usage` for files that cannot be read or do not match. */
export async function fileCertificates(
  files: { readonly certFile: string; readonly keyFile: string },
  log: (line: string) => void,
  lookEvery = LOOK_EVERY,
): Promise<CertificateSource> {
  let current = await readCertificate(files);
  const listeners: ((certificate: ServerCertificate) => void)[] = [];
  const look = async (): Promise<void> => {
    try {
      const next = await readCertificate(files);
      if (next.cert === current.cert && next.key === current.key) return;
      current = next;
      for (const listener of listeners) listener(next);
      log(`certificate read again: ${files.certFile}`);
    } catch (error) {
      // Two files cannot change at once: the old pair counts until the new one is whole.
      log(`the certificate stays as it was: ${asAccelError(error).message}`);
    }
  };
  const timer = setInterval(() => void look(), lookEvery).unref();
  return {
    get current() {
      return current;
    },
    onChange: (listener) => void listeners.push(listener),
    close: () => clearInterval(timer),
  };
}

async function readCertificate(files: {
  readonly certFile: string;
  readonly keyFile: string;
}): Promise<ServerCertificate> {
  try {
    const [cert, key] = await Promise.all([readFile(files.certFile, 'utf8'), readFile(files.keyFile, 'utf8')]);
    hideSecret(key);
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
      throw new Error('the key is of another certificate');
    return { cert, key };
  } catch (cause) {
    throw new AccelError('usage', 'the certificate of the webhook cannot be used', {
      where: { path: files.certFile, key: files.keyFile },
      found: (cause as Error).message,
      cause,
    });
  }
}
