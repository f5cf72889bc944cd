// What the verifier counts, read as Prometheus does: over HTTP.
#include "verifier/rpc/metrics.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "tests/support/evidence_builder.h"
#include "tests/support/stream_agent.h"
#include "tests/verifier/rpc/server_rig.h"
#include "verifier/rpc/store_errors.h"
#include "verifier/store/observed_store.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::FakeMachine;
using ::cupel::testing::StreamAgent;

// The body of GET /metrics from "127.0.0.1:PORT".
std::string Scrape(const std::string& address) {
  int port = 0;
  REQUIRE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(fd >= 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0);
  const std::string request =
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  REQUIRE(write(fd, request.data(), request.size()) ==
          static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(fd, buffer, sizeof(buffer))) > 0;) {
    answer.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  REQUIRE(absl::StartsWith(answer, "HTTP/1.1 200"));
  return answer.substr(answer.find("\r\n\r\n") + 4);
}

// The value of `series`; fails the test where it is missing.
double ValueOf(const std::string& text, const std::string& series) {
  INFO(text);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    double value = 0;
    if (absl::StartsWith(line, series + " ") &&
        absl::SimpleAtod(line.substr(series.size() + 1), &value)) {
      return value;
    }
  }
  FAIL(series);
  return 0;
}

std::string AgentsIn(const std::string& state) {
  return absl::StrCat("cupel_agents{state=\"", state, "\"}");
}

TEST_CASE("A verifier's metrics are on loopback unless it is told otherwise") {
  const config::VerifierConfig config;
  REQUIRE(config.metrics_listen.has_value());
  CHECK(config.metrics_listen->host == "127.0.0.1");
}

TEST_CASE("Prometheus reads what the verifier has counted") {
  ServerRig rig([](config::VerifierConfig& config) {
    config.metrics_listen = config::Endpoint{"127.0.0.1", 0};
  });
  const std::string& address = rig.server->addresses().metrics;
  std::string text = Scrape(address);
  for (const char* const state :
       {"EXPECTED", "ENROLLED", "PENDING", "TRUSTED", "FAILED", "STOPPED"}) {
    CHECK(ValueOf(text, AgentsIn(state)) == 0);
  }
  CHECK(ValueOf(text, "cupel_streams") == 0);
  CHECK(ValueOf(text, "cupel_queue_depth{of=\"agents\"}") == 0);
  CHECK(ValueOf(text, "cupel_queue_depth{of=\"operators\"}") >= 0);
  CHECK(ValueOf(text, "cupel_store_errors_total{call=\"RecordVerdict\"}") == 0);
  CHECK(ValueOf(text, "cupel_certificate_stale") == 0);
  CHECK(ValueOf(text, "cupel_certificate_expiry_timestamp_seconds") >
        static_cast<double>(absl::ToUnixSeconds(absl::Now())));
  CHECK(ValueOf(text, "cupel_attestation_seconds_count") == 0);

  FakeMachine machine;
  rig.Provision(machine);
  REQUIRE(rig.Add("pki/operator", "d432fbb3-d2f1-4a97-9ef7-75bd81c00001").ok());
  StreamAgent agent(rig.Attest(), machine, *AgentId::Parse(kAgent));
  REQUIRE(agent.SayHello());
  REQUIRE(agent.Round()->state() == "TRUSTED");
  machine.list.AddFile("/root/evil", testing::FileDigestOf("evil"));
  REQUIRE(agent.Round()->state() == "FAILED");

  // Counts of agents are a second old at most.
  for (int tries = 0; tries < 300; ++tries) {
    text = Scrape(address);
    if (ValueOf(text, AgentsIn("FAILED")) == 1) break;
    absl::SleepFor(absl::Milliseconds(100));
  }
  CHECK(ValueOf(text, AgentsIn("FAILED")) == 1);
  CHECK(ValueOf(text, AgentsIn("EXPECTED")) == 1);
  CHECK(ValueOf(text, AgentsIn("TRUSTED")) == 0);
  CHECK(ValueOf(text, "cupel_streams") == 1);
  CHECK(ValueOf(text, "cupel_attestations_total{verdict=\"pass\"}") == 1);
  CHECK(ValueOf(text, "cupel_attestations_total{verdict=\"fail\"}") == 1);
  CHECK(ValueOf(text, "cupel_appraisal_seconds_count") == 2);
  CHECK(ValueOf(text, "cupel_attestation_seconds_count") == 2);
  CHECK(ValueOf(text, "cupel_attestation_seconds_sum") >=
        ValueOf(text, "cupel_appraisal_seconds_sum"));

  // A certificate that can't be served is seen here too.
  std::filesystem::remove(rig.config.tls_key);
  rig.AwaitLog("the new certificate can't be served");
  CHECK(ValueOf(Scrape(address), "cupel_certificate_stale") == 1);
}

TEST_CASE("Whatever call the store fails is counted and, once, logged") {
  Metrics metrics;
  std::string text;
  Logger log(
      {.sink = [&](absl::string_view line) { absl::StrAppend(&text, line); }});
  StoreErrors errors(metrics, log);
  const testing::TemporaryFolder folder;
  auto opened = SqlStore::Open(folder / "store.db");
  REQUIRE(opened.ok());
  ObservedStore store(**opened,
                      [&](absl::string_view call, const absl::Status& status) {
                        errors.Take(call, status);
                      });
  const AgentId id = *AgentId::Parse(kAgent);
  // Answers are no failures.
  CHECK_FALSE(store.FindAgent(id).ok());
  CHECK_FALSE(store.GetPolicy("default", "none").ok());
  CHECK_FALSE(store.AddAgent("", id, {}, "", "").ok());
  CHECK(store.CountAgents().ok());
  CHECK(text.empty());

  // Every table is gone; what can't be asked can't be answered.
  {
    auto other = Connection::OpenSqlite(folder / "store.db", {});
    REQUIRE(other.ok());
    REQUIRE((*other)->Execute("PRAGMA foreign_keys = OFF").ok());
    for (const char* const table :
         {"agent_policies", "agent_labels", "agents", "policies", "sequences",
          "nonces", "deletions", "enrollment_tokens", "events",
          "allowed_eks"}) {
      REQUIRE((*other)->Execute(absl::StrCat("DROP TABLE ", table)).ok());
    }
  }
  const Enrollment enrollment = {{1}, std::string(64, 'e'), {2},   {3},
                                 {4}, absl::Now(),          "peer"};
  const std::vector<uint8_t> nonce(32, 1);
  const std::string hash(64, 'a');
  const VerdictWrite write{.id = id, .state = AgentState::kFailed};
  const std::vector<std::string> eks = {hash};
  for (int times = 1; times <= 2; ++times) {
    CHECK_FALSE(store.Enroll(id, enrollment, nonce, absl::Now(), "", 1).ok());
    CHECK_FALSE(store.AddEnrollmentToken("t", hash, absl::Now()).ok());
    CHECK_FALSE(store.Expire(absl::Now()).ok());
    CHECK_FALSE(store.AddAgent("t", id, {}, "", "").ok());
    CHECK_FALSE(store.AddVouchedAgent("t", id, {}, "").ok());
    CHECK_FALSE(
        store
            .UpdateAgent(
                "t", id, [](AgentSettings&) { return absl::OkStatus(); }, "")
            .ok());
    CHECK_FALSE(store.DeleteAgent("t", id, "").ok());
    CHECK_FALSE(store.Reactivate("t", id, {}, "").ok());
    CHECK_FALSE(store.StopAgent("t", id, "").ok());
    CHECK_FALSE(store.GetAgent("t", id).ok());
    AgentFilter filter;
    filter.tenant = "t";
    CHECK_FALSE(store.ListAgents(filter).ok());
    CHECK_FALSE(store.ListAgentIds(filter).ok());
    CHECK_FALSE(store.ListUnclaimed().ok());
    CHECK_FALSE(store.AllowEks("t", eks, "").ok());
    CHECK_FALSE(store.DisallowEks("t", eks, "").ok());
    CHECK_FALSE(store.ListAllowedEks("t", "", 1).ok());
    CHECK_FALSE(store.ExpireEvents(absl::Now()).ok());
    CHECK_FALSE(store.CountAgents().ok());
    CHECK_FALSE(store.PutPolicy("t", "p", nonce, 0, true, "").ok());
    CHECK_FALSE(store.DeletePolicy("t", "p", "").ok());
    CHECK_FALSE(store.GetPolicy("t", "p").ok());
    CHECK_FALSE(store.ListPolicies("t").ok());
    CHECK_FALSE(store.CountAgentsWithPolicy("t", "p").ok());
    CHECK_FALSE(store.FindAgent(id).ok());
    CHECK_FALSE(store.ClaimAgent(id, "me").ok());
    CHECK_FALSE(store.RecordVerdict(write).ok());
    CHECK_FALSE(store.RecordSeen(id, absl::Now()).ok());
    CHECK_FALSE(store.ExpireVerdicts(absl::Now()).ok());
    CHECK_FALSE(store.EventsAfter("t", 0, 1).ok());
    CHECK_FALSE(store.LastEventSequence().ok());
    CHECK_FALSE(store.Backup("/nowhere/backup").ok());
  }
  for (const char* const call : {"Enroll",
                                 "AddEnrollmentToken",
                                 "Expire",
                                 "AddAgent",
                                 "AddVouchedAgent",
                                 "UpdateAgent",
                                 "DeleteAgent",
                                 "Reactivate",
                                 "StopAgent",
                                 "GetAgent",
                                 "ListAgents",
                                 "ListAgentIds",
                                 "ListUnclaimed",
                                 "AllowEks",
                                 "DisallowEks",
                                 "ListAllowedEks",
                                 "ExpireEvents",
                                 "CountAgents",
                                 "PutPolicy",
                                 "DeletePolicy",
                                 "GetPolicy",
                                 "ListPolicies",
                                 "CountAgentsWithPolicy",
                                 "FindAgent",
                                 "ClaimAgent",
                                 "RecordVerdict",
                                 "RecordSeen",
                                 "ExpireVerdicts",
                                 "EventsAfter",
                                 "LastEventSequence",
                                 "Backup"}) {
    CAPTURE(call);
    CHECK(
        ValueOf(metrics.Text(), absl::StrCat("cupel_store_errors_total{call=\"",
                                             call, "\"}")) == 2);
    // The second time nobody has to read it again.
    const std::string mark = absl::StrCat(
        "the store fails: nothing is trusted "
        "on account of it call=",
        call, " ");
    const size_t first = text.find(mark);
    CHECK(first != std::string::npos);
    CHECK(text.find(mark, first + 1) == std::string::npos);
  }
}

}  // namespace
}  // namespace cupel::verifier
