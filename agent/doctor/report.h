// What `cupel-agent doctor` has found.
#ifndef CUPEL_AGENT_DOCTOR_REPORT_H_
#define CUPEL_AGENT_DOCTOR_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace cupel::agent {

enum class Outcome : uint8_t {
  kOk,
  kWarning,    // it works, and could be better
  kFailure,    // it can't work like this
  kUndecided,  // could not be checked, which is never taken for a pass
};
// "ok", "warning", "failure", "undecided".
absl::string_view OutcomeName(Outcome outcome);

// One thing that was looked at. Both texts are fit for a terminal.
struct Observation {
  std::string check;  // "tpm.banks"
  Outcome outcome = Outcome::kUndecided;
  std::string text;
  std::string cure;  // empty where nothing needs one
};

// The observations of one check. Every one that is not OK has a cure.
class Observations {
 public:
  void Ok(std::string text) { Add(Outcome::kOk, std::move(text), ""); }
  void Warn(std::string text, std::string cure) {
    Add(Outcome::kWarning, std::move(text), std::move(cure));
  }
  void Fail(std::string text, std::string cure) {
    Add(Outcome::kFailure, std::move(text), std::move(cure));
  }
  void CouldNotCheck(std::string text, std::string cure) {
    Add(Outcome::kUndecided, std::move(text), std::move(cure));
  }

 private:
  friend class Report;
  void Add(Outcome outcome, std::string text, std::string cure);

  std::vector<Observation> all_;
};

class Report {
 public:
  // What `check` said. One that said nothing could not be decided.
  void Add(absl::string_view check, Observations observations);

  const std::vector<Observation>& all() const { return all_; }
  size_t Count(Outcome outcome) const;

  // 0: nothing failed, and everything could be checked. 1: something failed.
  // 2: nothing did, but something could not be checked.
  int ExitCode() const;

  // A line an observation, cures below them, and the counts at the end.
  std::string Text() const;
  // {"checks": [{"check", "outcome", "text", "cure"}], "ok": 3, "warning": 0,
  // "failure": 1, "undecided": 0}
  std::string Json() const;

 private:
  std::vector<Observation> all_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_REPORT_H_
