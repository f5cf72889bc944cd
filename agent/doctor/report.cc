#include "agent/doctor/report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace cupel::agent {
namespace {

constexpr Outcome kOutcomes[] = {Outcome::kOk, Outcome::kWarning,
                                 Outcome::kFailure, Outcome::kUndecided};
// Where an observation's text begins.
constexpr int kOutcomeWidth = 10;
constexpr int kCheckWidth = 16;

}  // namespace

absl::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kWarning:
      return "warning";
    case Outcome::kFailure:
      return "failure";
    case Outcome::kUndecided:
      return "undecided";
  }
  return "undecided";
}

void Observations::Add(Outcome outcome, std::string text, std::string cure) {
  all_.push_back({.check = {},
                  .outcome = outcome,
                  .text = std::move(text),
                  .cure = std::move(cure)});
}

void Report::Add(absl::string_view check, Observations observations) {
  if (observations.all_.empty()) {
    observations.CouldNotCheck("the check came to no result",
                               "report this as a defect of cupel-agent");
  }
  for (Observation& observation : observations.all_) {
    observation.check = std::string(check);
    all_.push_back(std::move(observation));
  }
}

size_t Report::Count(Outcome outcome) const {
  return static_cast<size_t>(
      std::ranges::count(all_, outcome, &Observation::outcome));
}

int Report::ExitCode() const {
  if (Count(Outcome::kFailure) > 0) return 1;
  return Count(Outcome::kUndecided) > 0 || all_.empty() ? 2 : 0;
}

std::string Report::Text() const {
  std::string text;
  for (const Observation& one : all_) {
    absl::StrAppendFormat(&text, "%-*s %-*s %s\n", kOutcomeWidth,
                          OutcomeName(one.outcome), kCheckWidth, one.check,
                          one.text);
    if (one.cure.empty()) continue;
    absl::StrAppendFormat(&text, "%*scure: %s\n",
                          kOutcomeWidth + kCheckWidth + 2, "", one.cure);
  }
  absl::StrAppend(&text, Count(Outcome::kOk), " ok, ", Count(Outcome::kWarning),
                  " to be improved, ", Count(Outcome::kFailure), " failed, ",
                  Count(Outcome::kUndecided), " could not be checked\n");
  return text;
}

std::string Report::Json() const {
  nlohmann::ordered_json json;
  json["checks"] = nlohmann::ordered_json::array();
  for (const Observation& one : all_) {
    nlohmann::ordered_json check;
    check["check"] = one.check;
    check["outcome"] = std::string(OutcomeName(one.outcome));
    check["text"] = one.text;
    check["cure"] = one.cure;
    json["checks"].push_back(std::move(check));
  }
  for (const Outcome outcome : kOutcomes) {
    json[std::string(OutcomeName(outcome))] = Count(outcome);
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace cupel::agent
