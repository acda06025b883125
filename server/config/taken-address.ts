/** What to do where a process cannot listen at an address of the configuration; the hint of errors. */
export const TAKEN_ADDRESS =
  'Another process listens there, or this machine does not have the address: `ss -ltnp` shows who has the port.';
