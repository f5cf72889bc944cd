#include "common/config/loader.h"

#include <filesystem>
#include <string>

#include "catch2/catch.hpp"
#include "common/config/agent_config.h"
#include "common/config/tenant_config.h"
#include "common/config/verifier_config.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::config {
namespace {

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

// verifier.yaml and verifier.d in a folder of the test's own.
class ConfigTest {
 public:
  ConfigTest() {
    sources_.file = folder_ / "verifier.yaml";
    std::filesystem::create_directory(folder_ / "verifier.d");
  }

  void Write(const std::string& name, const std::string& text) {
    REQUIRE_THAT(WriteFile(folder_ / name, text), IsOk());
  }
  absl::StatusOr<VerifierConfig> Load() {
    origins_.clear();
    return LoadVerifierConfig(sources_, &origins_);
  }
  // Writes the main file and loads; what the error should say begins with the
  // file and `line`.
  void CheckRefused(const std::string& text, int line,
                    const std::string& message) {
    CAPTURE(text);
    Write("verifier.yaml", text);
    CHECK_THAT(StatusOf(Load()),
               StatusIs(StatusCode::kInvalidArgument,
                        absl::StrCat(sources_.file, ":", line, ": ", message)));
  }

  Sources& sources() { return sources_; }
  Origins& origins() { return origins_; }
  std::string operator/(const std::string& name) const {
    return folder_ / name;
  }

 private:
  testing::TemporaryFolder folder_;
  Sources sources_;
  Origins origins_;
};

TEST_CASE("Without any source the defaults hold") {
  ConfigTest test;
  const auto config = test.Load();
  REQUIRE_THAT(StatusOf(config), IsOk());
  VerifierConfig expected;
  expected.store_path = "/var/lib/cupel/verifier/verifier.db";
  CHECK(*config == expected);
  CHECK(test.origins().empty());
}

TEST_CASE("File, drop-ins by name, environment, flags: the last one wins") {
  ConfigTest test;
  const auto interval = [&test] {
    const auto config = test.Load();
    REQUIRE_THAT(StatusOf(config), IsOk());
    return config->interval;
  };
  test.Write("verifier.yaml", "# a comment\ninterval: 11s\ngrace: 3s\n");
  CHECK(interval() == absl::Seconds(11));
  CHECK(test.origins()["interval"] == absl::StrCat(test.sources().file, ":2"));
  test.Write("verifier.d/20.yaml", "interval: 13s\n");
  test.Write("verifier.d/10.yaml", "interval: 12s\n");
  CHECK(interval() == absl::Seconds(13));
  CHECK(test.origins()["interval"] ==
        absl::StrCat(test / "verifier.d/20.yaml", ":1"));
  test.sources().environment = {{"CUPEL_VERIFIER_INTERVAL", "14s"},
                                {"CUPEL_AGENT_SETTLE", "?"},
                                {"PATH", "/bin"}};
  CHECK(interval() == absl::Seconds(14));
  CHECK(test.origins()["interval"] == "CUPEL_VERIFIER_INTERVAL");
  test.sources().flags = {{"interval", {"15s"}}};
  CHECK(interval() == absl::Seconds(15));
  CHECK(test.origins()["interval"] == "--interval");
  CHECK(test.Load()->grace == absl::Seconds(3));
}

TEST_CASE("Values of every kind are read from YAML") {
  ConfigTest test;
  test.Write("verifier.yaml",
             "attest_listen: '[::]:9000'\n"
             "metrics_listen: off\n"
             "store_path: db/store\n"
             "accept_unknown_ek_issuer: true\n"
             "worker_threads: 3\n"
             "fresh: \"2s\"\n"
             "max_policy_size: 1MiB\n"
             "log_format: json\n");
  const auto config = test.Load();
  REQUIRE_THAT(StatusOf(config), IsOk());
  CHECK(config->attest_listen == Endpoint{"::", 9000});
  CHECK_FALSE(config->metrics_listen.has_value());
  CHECK(config->store_path == test / "db/store");
  CHECK(config->accept_unknown_ek_issuer);
  CHECK(config->worker_threads == 3);
  CHECK(config->fresh == absl::Seconds(2));
  CHECK(config->max_policy_size == uint64_t{1} << 20);
  CHECK(config->log_format == LogFormat::kJson);
}

TEST_CASE("Lists come from YAML, the environment and flags") {
  ConfigTest test;
  test.sources().file = test / "agent.yaml";
  const auto verifiers = [&test] {
    const auto config = LoadAgentConfig(test.sources());
    REQUIRE_THAT(StatusOf(config), IsOk());
    return config->verifiers;
  };
  test.Write("agent.yaml", "verifiers:\n- a:1\n- \"[::1]:2\"\n");
  CHECK(verifiers() == std::vector<Endpoint>{{"a", 1}, {"::1", 2}});
  test.Write("agent.yaml", "verifiers: [b:1]\n");
  CHECK(verifiers() == std::vector<Endpoint>{{"b", 1}});
  test.Write("agent.yaml", "verifiers: c:1\n");
  CHECK(verifiers() == std::vector<Endpoint>{{"c", 1}});
  test.sources().environment["CUPEL_AGENT_VERIFIERS"] = "d:1,e:2";
  CHECK(verifiers() == std::vector<Endpoint>{{"d", 1}, {"e", 2}});
  test.sources().flags = {{"verifiers", {"f:1", "g:2"}}};
  CHECK(verifiers() == std::vector<Endpoint>{{"f", 1}, {"g", 2}});
}

TEST_CASE("Unknown options are refused with their place") {
  ConfigTest test;
  test.CheckRefused("grace: 1s\n\nintervall: 10s\n", 3,
                    "unknown option \"intervall\"; did you mean interval?");
  test.CheckRefused("x\x1b[2J: 10s\n", 1, "");
  test.CheckRefused("\"x\\e[2J\": 10s\n", 1, "unknown option \"x\\x1b[2J\"");
  test.CheckRefused("quite_another_thing: 1\n", 1,
                    "unknown option \"quite_another_thing\"");
  test.CheckRefused("Interval: 10s\n", 1, "unknown option \"Interval\"");

  test.Write("verifier.yaml", "");
  test.sources().environment = {{"CUPEL_VERIFIER_STORE", "/x"}};
  CHECK_THAT(StatusOf(test.Load()),
             StatusIs(StatusCode::kInvalidArgument,
                      "CUPEL_VERIFIER_STORE: unknown option \"store\""));
  test.sources().environment.clear();
  test.sources().flags = {{"stor_path", {"/x"}}};
  CHECK_THAT(StatusOf(test.Load()),
             StatusIs(StatusCode::kInvalidArgument,
                      "--stor-path: unknown option \"stor_path\"; did you mean "
                      "store_path?"));
}

TEST_CASE("What the command line says: --config and --set") {
  ConfigTest test;
  test.Write("verifier.yaml", "interval: 12s\n");
  const std::vector<std::string> sets = {"interval=15s", "state_dir=/x=y"};
  auto sources = SourcesFromFlags("verifier", test.sources().file, sets);
  REQUIRE_THAT(StatusOf(sources), IsOk());
  CHECK(sources->file_required);
  sources->environment.clear();
  Origins origins;
  const auto config = LoadVerifierConfig(*sources, &origins);
  REQUIRE_THAT(StatusOf(config), IsOk());
  CHECK(config->interval == absl::Seconds(15));
  CHECK(config->state_dir == "/x=y");
  CHECK(origins.at("interval") == "--set interval");

  sources = SourcesFromFlags("agent", std::nullopt, {});
  REQUIRE_THAT(StatusOf(sources), IsOk());
  CHECK(sources->file == "/etc/cupel/agent.yaml");
  CHECK_FALSE(sources->file_required);
}

TEST_CASE("What the command line can't mean is refused, by its own words") {
  CHECK_THAT(StatusOf(SourcesFromFlags("verifier", "", {})),
             StatusIs(StatusCode::kInvalidArgument,
                      "--config: the file has no name; leave the option out "
                      "for /etc/cupel/verifier.yaml"));
  const std::vector<std::string> no_value = {"interval\x1b"};
  CHECK_THAT(
      StatusOf(SourcesFromFlags("verifier", std::nullopt, no_value)),
      StatusIs(StatusCode::kInvalidArgument, "--set \"interval\\x1b\": "));
  const auto refused = [](const std::string& set, const std::string& what) {
    ConfigTest test;
    const std::vector<std::string> sets = {set};
    test.Write("verifier.yaml", "");
    auto sources = SourcesFromFlags("verifier", test.sources().file, sets);
    REQUIRE_THAT(StatusOf(sources), IsOk());
    sources->environment.clear();
    CHECK_THAT(StatusOf(LoadVerifierConfig(*sources)),
               StatusIs(StatusCode::kInvalidArgument, what));
  };
  refused("stor_path=/x", "--set stor_path: unknown option \"stor_path\"");
  refused("interval=soon", "--set interval: interval: expected");
  refused("\x1b=1", "--set \\x1b: unknown option \"\\x1b\"");
  refused("=1", "--set : unknown option \"\"");
}

TEST_CASE("An option that stands twice in a file is refused") {
  ConfigTest test;
  test.CheckRefused("interval: 10s\ngrace: 1s\ninterval: 10s\n", 3,
                    absl::StrCat("interval stands here again, after ",
                                 test.sources().file, ":1"));
  test.CheckRefused("interval: 10s\n\"interval\": 10s\n", 2,
                    "interval stands here again");
}

TEST_CASE("A value of the wrong kind is refused with what is expected") {
  ConfigTest test;
  test.CheckRefused("\ninterval: ten\n", 2,
                    "interval: expected a duration with its unit (\"100ms\", "
                    "\"10s\", \"24h\") from 100ms to 24h; got \"ten\"");
  test.CheckRefused("interval: 10\n", 1, "interval: expected a duration");
  test.CheckRefused("interval: [1s, 2s]\n", 1, "interval: expected a duration");
  test.CheckRefused("max_streams: many\n", 1,
                    "max_streams: expected a number from 1 to");
  test.CheckRefused("accept_unknown_ek_issuer: yes\n", 1,
                    "accept_unknown_ek_issuer: expected \"true\" or \"false\"; "
                    "got \"yes\"");
  test.CheckRefused("interval:\n", 1, "interval has no value");
  test.CheckRefused("interval: ~\n", 1, "interval has no value");
  test.CheckRefused("interval: {a: 1s}\n", 1, "interval holds a mapping");
  test.CheckRefused("interval: [[1s]]\n", 1, "interval: a value inside of it");
  test.CheckRefused("interval: &a [*a]\n", 1, "interval: a value inside of it");
  test.CheckRefused("interval: !!str 10s\n", 1, "interval: tags such as");
  test.CheckRefused("interval: \"\\e[2J\"\n", 1,
                    "interval: expected a duration with its unit (\"100ms\", "
                    "\"10s\", \"24h\") from 100ms to 24h; got \"\\x1b[2J\"");
  test.Write("verifier.yaml", "");
  test.sources().environment = {{"CUPEL_VERIFIER_INTERVAL", ""}};
  CHECK_THAT(StatusOf(test.Load()),
             StatusIs(StatusCode::kInvalidArgument,
                      "CUPEL_VERIFIER_INTERVAL: interval: expected"));
}

TEST_CASE("Text that is no configuration is refused with its place") {
  ConfigTest test;
  test.CheckRefused("grace: 1s\ninterval: [1s\n", 3, "no YAML: ");
  test.CheckRefused("grace: 1s\n\tinterval: 1s\n", 2, "");
  test.CheckRefused("- interval\n", 1, "expected lines of");
  test.CheckRefused("interval\n", 1, "expected lines of");
  test.CheckRefused("[a]: 1\n", 1, "a key that is no word");
  test.CheckRefused("grace: 1s\n---\ngrace: 2s\n", 2, "a second document");
  test.CheckRefused("grace: 1s\n...\n,", 3, "a second document");
  // yaml-cpp would make documents of these without end.
  test.CheckRefused(",", 1, "no YAML: nothing can begin so");
  test.CheckRefused("# nothing\n\n,grace: 1s\n", 3, "no YAML: ");
  test.CheckRefused("grace: *gone\n", 1, "no YAML: ");
  test.Write("verifier.yaml", std::string("grace: 1s\0x", 11));
  CHECK_THAT(StatusOf(test.Load()),
             StatusIs(StatusCode::kInvalidArgument, "a NUL byte"));
  // Deep nesting ends in an error and not in the stack.
  test.Write("verifier.yaml", "grace: " + std::string(500'000, '['));
  CHECK_THAT(StatusOf(test.Load()), StatusIs(StatusCode::kInvalidArgument));
  test.Write("verifier.yaml", std::string((size_t{1} << 20) + 1, '#'));
  CHECK_THAT(StatusOf(test.Load()), StatusIs(StatusCode::kResourceExhausted));
}

TEST_CASE("Empty files and comments alone are no error") {
  ConfigTest test;
  for (const char* text : {"", "\n", "# nothing\n", "---\n", "{}\n"}) {
    CAPTURE(text);
    test.Write("verifier.yaml", text);
    CHECK_THAT(StatusOf(test.Load()), IsOk());
  }
}

TEST_CASE("The main file has to be there only if it was named") {
  ConfigTest test;
  CHECK_THAT(StatusOf(test.Load()), IsOk());
  test.sources().file_required = true;
  CHECK_THAT(StatusOf(test.Load()),
             StatusIs(StatusCode::kNotFound, test.sources().file));
}

TEST_CASE("Only *.yaml are drop-ins, and a *.yml is not passed over") {
  ConfigTest test;
  test.Write("verifier.d/README", "no YAML: [");
  test.Write("verifier.d/10.yaml.orig", "no YAML: [");
  test.Write("verifier.d/.10.yaml", "no YAML: [");
  CHECK_THAT(StatusOf(test.Load()), IsOk());
  test.Write("verifier.d/10.yaml", "intervall: 1s");
  CHECK_THAT(
      StatusOf(test.Load()),
      StatusIs(StatusCode::kInvalidArgument,
               absl::StrCat(test / "verifier.d/10.yaml", ":1: unknown")));
  test.Write("verifier.d/10.yaml", "");
  test.Write("verifier.d/10.yml", "");
  CHECK_THAT(StatusOf(test.Load()),
             StatusIs(StatusCode::kInvalidArgument, "verifier.d/10.yml"));
}

TEST_CASE("Values that contradict one another are refused") {
  ConfigTest test;
  const auto verifier = [&test](std::string key, std::string value) {
    test.sources().flags = {{std::move(key), {std::move(value)}}};
    return StatusOf(test.Load());
  };
  CHECK_THAT(verifier("fresh", "9s"), IsOk());
  CHECK_THAT(verifier("fresh", "10s"),
             StatusIs(StatusCode::kInvalidArgument, "fresh is not shorter"));
  CHECK_THAT(verifier("max_unproven_streams", "10001"),
             StatusIs(StatusCode::kInvalidArgument, "max_unproven_streams"));
  CHECK_THAT(verifier("attest_listen", "127.0.0.1:8892"),
             StatusIs(StatusCode::kInvalidArgument, "are one address"));
  test.sources().flags = {{"unclaimed_lifetime", {"1m"}},
                          {"cookie_lifetime", {"61s"}}};
  CHECK_THAT(StatusOf(test.Load()), StatusIs(StatusCode::kInvalidArgument,
                                             "unclaimed_lifetime is shorter"));
  const auto agent = [](std::string key, std::string value) {
    return StatusOf(
        LoadAgentConfig({.flags = {{std::move(key), {std::move(value)}}}}));
  };
  CHECK_THAT(agent("backoff_min", "30s"), IsOk());
  CHECK_THAT(agent("backoff_min", "31s"),
             StatusIs(StatusCode::kInvalidArgument, "backoff_min"));
  CHECK_THAT(agent("settle_max", "50ms"),
             StatusIs(StatusCode::kInvalidArgument, "settle is longer"));
}

TEST_CASE("The default sources are those of the program and its process") {
  const Sources sources = DefaultSources("tenant");
  CHECK(sources.file == "/etc/cupel/tenant.yaml");
  CHECK_FALSE(sources.file_required);
  CHECK(sources.environment.contains("PATH"));
  CHECK(EnvironmentName("verifier", "store_path") ==
        "CUPEL_VERIFIER_STORE_PATH");
}

}  // namespace
}  // namespace cupel::config
