// The doctor's checks. Each looks at one thing and says at least one word about
// it.
#ifndef CUPEL_AGENT_DOCTOR_CHECKS_H_
#define CUPEL_AGENT_DOCTOR_CHECKS_H_

#include "agent/doctor/machine.h"
#include "agent/doctor/report.h"

namespace cupel::agent {

using CheckFunction = void (*)(const Machine& machine, Observations& found);

// --- kernel_checks.cc
// securityfs is mounted, and the kernel shows IMA there.
void CheckSecurityfs(const Machine& machine, Observations& found);
// The kernel was built with IMA, and with a TPM driver that IMA finds.
void CheckKernelConfig(const Machine& machine, Observations& found);
// What /proc/cmdline asks of IMA.
void CheckCommandLine(const Machine& machine, Observations& found);
// The active policy: what it measures, and what it leaves out.
void CheckImaPolicy(const Machine& machine, Observations& found);

// --- list_checks.cc
// List and count can be read.
void CheckList(const Machine& machine, Observations& found);
// Templates, digests and violations in the list.
void CheckEntries(const Machine& machine, Observations& found);
// The list explains the PCRs: CompareListWithPcrs.
void CheckReplay(const Machine& machine, Observations& found);

// --- tpm_checks.cc
// The configured way to the TPM: is there a resource manager?
void CheckTcti(const Machine& machine, Observations& found);
// The TPM answers, is usable, and has room.
void CheckTpmState(const Machine& machine, Observations& found);
// Banks: allocated, and extended by the firmware.
void CheckBanks(const Machine& machine, Observations& found);
// The endorsement key has a certificate that is its own, and valid now.
void CheckEkCertificate(const Machine& machine, Observations& found);

// --- clock_checks.cc
// The system's clock is sane, and agrees with the RTC.
void CheckClock(const Machine& machine, Observations& found);
// The TPM's clock runs as fast as the system's.
void CheckTpmClock(const Machine& machine, Observations& found);

// --- agent_checks.cc
// The state folder, and what is kept there.
void CheckState(const Machine& machine, Observations& found);
// The user that the agent becomes can go on.
void CheckUser(const Machine& machine, Observations& found);
// The CAs that may vouch for a verifier.
void CheckCa(const Machine& machine, Observations& found);
// Each verifier answers, with a certificate that the agent trusts.
void CheckVerifiers(const Machine& machine, Observations& found);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_CHECKS_H_
