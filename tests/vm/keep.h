// What a case's guest produced, kept for tests/vectors and the fuzz targets.
#ifndef CUPEL_TESTS_VM_KEEP_H_
#define CUPEL_TESTS_VM_KEEP_H_

#include <string>

#include "absl/status/status.h"
#include "tests/vm/lab.h"

namespace cupel::vm {

// Does nothing unless the environment names a folder, CUPEL_VM_KEEP. There it
// keeps, in the folder `name`, replacing what that holds: a quote of the
// machine's PCR 0 to 10 by a new AK (quote.msg, quote.sig, ak.pub, ek.pub, and
// the nonce), then the list in both forms, the PCRs of each bank (pcrs.json),
// the firmware's event log, and the kernel's version with its command line
// (kernel.txt). tests/vectors/README.md says how they become vectors.
//
// The quote is made first: the list explains it by a prefix or as a whole. The
// program that quotes (quote_tool.cc) is executed in the guest, and measured:
// nothing that a case judges comes after this. Errors of the machine.
absl::Status Keep(Lab& lab, const std::string& name);

}  // namespace cupel::vm

#endif  // CUPEL_TESTS_VM_KEEP_H_
