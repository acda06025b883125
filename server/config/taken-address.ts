/** Hint of an error where a process cannot listen at an address of the configuration. */
export const TAKEN_ADDRESS =
  'Another process listens there, or this machine does not have the address: `ss -ltnp` shows who has the port.';
