#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/doctor/checks.h"
#include "agent/doctor/list_scan.h"
#include "agent/doctor/self_replay.h"
#include "common/util/escape.h"

namespace cupel::agent {
namespace {

std::string Counted(const std::map<std::string, uint64_t>& counts) {
  std::vector<std::string> parts;
  parts.reserve(counts.size());
  for (const auto& [name, count] : counts) {
    parts.push_back(absl::StrCat(name, " (", count, ")"));
  }
  return absl::StrJoin(parts, ", ");
}

void SayUnread(const Machine& machine, const absl::Status& status,
               Observations& found) {
  const std::string text(status.message());
  if (absl::IsPermissionDenied(status) && machine.user_id != 0) {
    found.CouldNotCheck(text, "run it as root, or as the agent's own user");
  } else {
    found.Fail(text,
               "mount securityfs and boot a kernel with IMA; ima_list and "
               "ima_count say where the files are");
  }
}

void Compare(const BankReport& bank, const SelfTestReport& report,
             Observations& found) {
  const std::string text =
      absl::StrCat(bank.bank, ": ", BankText(bank, report.entry_count));
  switch (bank.result) {
    case BankResult::kExplained:
      return found.Ok(text);
    case BankResult::kUndecided:
      return found.CouldNotCheck(text, BankCure(bank.result));
    case BankResult::kPadded:
    case BankResult::kIncomplete:
    case BankResult::kUnexplained:
      return found.Fail(text, BankCure(bank.result));
  }
}

}  // namespace

void CheckList(const Machine& machine, Observations& found) {
  const auto source = OpenList(machine);
  if (!source.ok()) return SayUnread(machine, source.status(), found);
  const auto count = (*source)->EntryCount();
  if (!count.ok()) return SayUnread(machine, count.status(), found);
  const auto start = (*source)->ReadFrom(0, 4096);
  if (!start.ok()) return SayUnread(machine, start.status(), found);
  if (start->empty() || *count == 0) {
    found.Fail("the list is empty: the kernel measures nothing",
               "boot with an IMA policy, such as ima_policy=tcb");
  } else if (*count == 1) {
    found.Fail("the list has boot_aggregate alone: no policy measures anything",
               "boot with an IMA policy, such as ima_policy=tcb, or load one");
  } else {
    found.Ok(absl::StrCat(*count, " entries can be read"));
  }
}

void CheckEntries(const Machine& machine, Observations& found) {
  const auto scan = ScanList(machine);
  if (!scan.ok()) {
    found.CouldNotCheck(
        std::string(scan.status().message()),
        "see ima.list; a list that is malformed needs a reboot");
    return;
  }
  if (scan->entry_count == 0) {
    found.CouldNotCheck("the list is empty", "see ima.list");
    return;
  }
  if (scan->unknown_count > 0) {
    found.Fail(absl::StrCat(scan->unknown_count,
                            " entries have a template that Cupel does not "
                            "know: they are never cleared"),
               "boot with ima_template=ima-ng or ima-sig");
  }
  if (scan->malformed_count > 0) {
    found.Fail(absl::StrCat(scan->malformed_count,
                            " entries do not fit their template"),
               "reboot; if they come back, report the kernel's version");
  }
  if (scan->templates.contains("ima")) {
    found.Warn("the template ima has SHA-1 or MD5 digests, and cuts names off",
               "boot with ima_template=ima-ng or ima-sig");
  }
  for (const char* const weak : {"sha1", "md5"}) {
    const auto hash = scan->hashes.find(weak);
    if (hash == scan->hashes.end()) continue;
    found.Warn(absl::StrCat(hash->second, " files are measured with ", weak),
               "boot with ima_hash=sha256");
  }
  if (scan->violation_count > 0) {
    found.Warn(
        absl::StrCat(scan->violation_count,
                     " violations: files that were open for writing while they "
                     "were measured; a policy may take each for a failure"),
        "find their paths with `cupel-tenant log show`, and stop writing files "
        "in place that are executed");
  }
  found.Ok(absl::StrCat("templates ", Counted(scan->templates), "; hashes ",
                        Counted(scan->hashes)));
}

void CheckReplay(const Machine& machine, Observations& found) {
  if (!machine.tpm.ok()) {
    found.CouldNotCheck("the TPM can't be reached", "see tpm.state");
    return;
  }
  const auto source = OpenList(machine);
  if (!source.ok()) {
    found.CouldNotCheck(std::string(source.status().message()), "see ima.list");
    return;
  }
  const auto report = CompareListWithPcrs(**machine.tpm, **source);
  if (!report.ok()) {
    found.CouldNotCheck(std::string(report.status().message()),
                        "see ima.list and tpm.state");
    return;
  }
  for (const BankReport& bank : report->banks) Compare(bank, *report, found);
}

}  // namespace cupel::agent
