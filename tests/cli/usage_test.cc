// What every command of cupel-tenant has in common: help, wrong command lines,
// and outputs that can't be written.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "catch2/catch.hpp"
#include "tests/cli/cli.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

const std::vector<Arguments> kCommands = {{},
                                          {"log"},
                                          {"log", "show"},
                                          {"log", "replay"},
                                          {"appraise"},
                                          {"allowlist"},
                                          {"allowlist", "create"},
                                          {"token"},
                                          {"token", "create"},
                                          {"policy"},
                                          {"policy", "create"},
                                          {"policy", "show"},
                                          {"policy", "lint"},
                                          {"policy", "convert"},
                                          {"policy", "add"},
                                          {"policy", "update"},
                                          {"policy", "delete"},
                                          {"policy", "list"},
                                          {"add"},
                                          {"update"},
                                          {"delete"},
                                          {"status"},
                                          {"list"},
                                          {"enrolled"},
                                          {"reactivate"},
                                          {"stop"},
                                          {"attest"},
                                          {"explain"},
                                          {"watch"}};

// Commands that succeed and print.
std::vector<Arguments> PrintingCommands() {
  const std::string policy = VectorPath("guide/policy.json");
  return {{"--help"},
          {"--version"},
          {"log", "show", "--help"},
          {"log", "show", QuotedList()},
          {"log", "show", QuotedList(), "--json", "--tail", "1"},
          {"log", "replay", QuotedList()},
          {"log", "replay", QuotedList(), "--json"},
          {"policy", "show", policy},
          {"policy", "lint", policy},
          {"policy", "convert", policy},
          {"policy", "convert", policy, "--to", "excludes"},
          {"appraise", "--ima-list", QuotedList(), "--policy", policy, "--pcrs",
           VectorPath("ima/quote/pcrs.json")},
          {"appraise", "--ima-list", QuotedList(), "--policy", policy, "--pcrs",
           VectorPath("ima/quote/pcrs.json"), "--json"}};
}

TEST_CASE("usage: --help of every command fits a terminal") {
  for (const Arguments& command : kCommands) {
    for (const char* flag : {"--help", "-h"}) {
      CAPTURE(absl::StrJoin(command, " "));
      const CommandResult result = Tenant(command + Arguments{flag});
      CHECK(result.exit_code == 0);
      CHECK(result.err.empty());
      CHECK(absl::StrContains(
          result.out,
          absl::StrJoin(Arguments{"Usage: cupel-tenant"} + command, " ")));
      CHECK(absl::StrContains(result.out, "Exit codes: 0, "));
      for (const std::string& line : Lines(result.out)) {
        CAPTURE(line);
        CHECK(line.size() <= 80);
      }
    }
  }
}

TEST_CASE("usage: --help of every command that does something has examples") {
  for (const Arguments& command : kCommands) {
    const std::string help = Tenant(command + Arguments{"--help"}).out;
    if (absl::StrContains(help, "SUBCOMMAND")) continue;
    CAPTURE(absl::StrJoin(command, " "));
    if (command == Arguments{"policy", "delete"} ||
        command == Arguments{"policy", "list"}) {
      continue;  // there is one way to call them
    }
    CHECK(absl::StrContains(help, absl::StrCat("\nExamples:\n  cupel-tenant ",
                                               absl::StrJoin(command, " "))));
  }
}

TEST_CASE("usage: --version") {
  const CommandResult result = Tenant({"--version"});
  CHECK(result.exit_code == 0);
  CHECK(absl::StartsWith(result.out, "cupel-tenant "));
  CHECK(Lines(result.out).size() == 1);
}

TEST_CASE("usage: no command prints the usage as an error") {
  for (const Arguments& command :
       {Arguments{}, Arguments{"log"}, Arguments{"policy"}}) {
    const CommandResult result = Tenant(command);
    CHECK_THAT(result, IsRefused("no command is given"));
    CHECK(absl::StrContains(result.err, "Usage: cupel-tenant"));
  }
}

TEST_CASE("usage: unknown commands and options are named") {
  CHECK_THAT(Tenant({"frob"}), IsRefused("unknown command \"frob\""));
  CHECK_THAT(Tenant({"--frob"}), IsRefused("unknown option \"--frob\""));
  CHECK_THAT(Tenant({"log", "frob"}), IsRefused("unknown command \"frob\""));
  CHECK_THAT(Tenant({"\x1b[2J"}), IsRefused("\\x1b[2J"));
  for (const Arguments& command : kCommands) {
    CHECK_THAT(Tenant(command + Arguments{"--no-such"}),
               IsRefused("cupel-tenant"));
  }
  CHECK_THAT(Tenant({"log", "show", QuotedList(), "--no-such"}),
             IsRefused("--no-such"));
  CHECK_THAT(Tenant({"log", "show", QuotedList(), "more"}), IsRefused("more"));
  CHECK_THAT(Tenant({"log", "show", QuotedList(), "--\x1b[2J"}),
             IsRefused("\\x1b[2J"));
  CHECK(absl::StrContains(Tenant({"log", "show"}).err,
                          "Run cupel-tenant log show --help"));
}

TEST_CASE("usage: an option given twice is an error where one counts") {
  CHECK_THAT(Tenant({"appraise", "--ima-list", QuotedList(), "--allowlist", "a",
                     "--allowlist", "b"}),
             IsRefused("--allowlist"));
}

TEST_CASE("usage: a value that is empty is an error of every command") {
  for (const Arguments& command :
       {Arguments{"log", "show", ""},
        {"log", "replay", ""},
        {"log", "replay", QuotedList(), "--pcrs", ""},
        {"policy", "show", ""},
        {"policy", "lint", "x", "--exclude", ""},
        {"policy", "convert", "x", "-o", ""},
        {"policy", "add", "x", "--deny", ""},
        {"add", "x", "--ek", ""},
        {"list", "--ca", ""},
        {"--uuid", "x", "--exclude", ""}}) {
    CAPTURE(absl::StrJoin(command, " "));
    CHECK_THAT(Tenant(command), IsRefused("the value is empty"));
  }
}

TEST_CASE("usage: output that can't be written is no success") {
  for (const Arguments& command : PrintingCommands()) {
    CAPTURE(absl::StrJoin(command, " "));
    REQUIRE(Tenant(command).exit_code == 0);
    CommandOptions full;
    full.out_path = "/dev/full";
    CommandOptions closed;
    closed.out = Stream::kClosed;
    for (const CommandOptions& options : {full, closed}) {
      const CommandResult result = Tenant(command, options);
      CHECK(result.exit_code == 2);
      CHECK(absl::StartsWith(result.err, "cupel-tenant: "));
      CHECK(absl::StrContains(result.err, "standard output"));
    }
  }
}

TEST_CASE("usage: a full disk is no success for -o either") {
  CHECK_THAT(Tenant({"policy", "convert", VectorPath("guide/policy.json"), "-o",
                     "/dev/full"}),
             IsRefused("/dev/full: No space left on device"));
}

TEST_CASE("usage: closed standard streams change no verdict") {
  const Arguments command = {"appraise",
                             "--ima-list",
                             QuotedList(),
                             "--policy",
                             VectorPath("guide/policy.json"),
                             "--pcrs",
                             VectorPath("ima/quote/pcrs.json")};
  CommandOptions options;
  options.in = Stream::kClosed;
  options.err = Stream::kClosed;
  CHECK(Tenant(command, options).exit_code == 0);
}

}  // namespace
}  // namespace cupel::testing
