// Who is believed, and who is let in.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/cli/online/online.h"
#include "tests/support/skip.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

TEST_CASE("connection: file, drop-ins, environment, options, in this order") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const std::string right = absl::StrCat("localhost:", bench.port());
  const auto run = [&](const Arguments& more, const CommandOptions& options) {
    return bench.Run(Arguments{"status", kAgent} + more, options).exit_code;
  };
  CHECK(run({}, {}) == 0);
  // Each of them alone takes it somewhere else, and the next one back.
  std::filesystem::create_directory(bench.Path("tenant.d"));
  bench.Write("tenant.d/10.yaml", "verifier: localhost:1\n");
  CHECK(run({}, {}) == 2);
  bench.Write("tenant.d/20.yaml", absl::StrCat("verifier: ", right, "\n"));
  CHECK(run({}, {}) == 0);
  CommandOptions options;
  options.environment["CUPEL_TENANT_VERIFIER"] = "localhost:1";
  CHECK(run({}, options) == 2);
  CHECK(run({"-v", right}, options) == 0);
  options.environment["CUPEL_TENANT_VERIFIER"] = right;
  CHECK(run({}, options) == 0);
  CHECK(run({"-v", "localhost:1"}, options) == 2);
  // What -v leaves open is as configured.
  CHECK(run({"-v", "localhost"}, options) == 0);
  options.environment["CUPEL_TENANT_CA_FILE"] = "/no/such";
  CHECK(run({}, options) == 2);
  CHECK(run({"--ca", bench.Path("ca.pem")}, options) == 0);
}

TEST_CASE("connection: -vp is the port, wherever the host is from") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const std::string port = absl::StrCat(bench.port());
  CommandOptions options;
  options.environment["CUPEL_TENANT_VERIFIER"] = "localhost";
  CHECK(bench.Run({"status", kAgent, "-vp", port}, options).exit_code == 0);
  CHECK(bench.Run({"status", kAgent, "-v", "localhost:1", "-vp", port})
            .exit_code == 0);
}

TEST_CASE("connection: a configuration that is wrong says where") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const std::string file = bench.Path("tenant.yaml");
  bench.Configure("verifer: x\n");
  CHECK_THAT(bench.Run({"list"}),
             IsRefused(absl::StrCat(file,
                                    ":6: unknown option \"verifer\"; did "
                                    "you mean verifier?")));
  bench.Configure("boot: any\nboot: any\n");
  CHECK_THAT(bench.Run({"list"}), IsRefused(absl::StrCat(file, ":7: boot")));
  bench.Configure("trust_on_first_use: perhaps\n");
  CHECK_THAT(bench.Run({"list"}), IsRefused(absl::StrCat(file, ":6: ")));
  bench.Configure("");
  CommandOptions options;
  options.environment["CUPEL_TENANT_VERIFER"] = "x";
  CHECK_THAT(bench.Run({"list"}, options), IsRefused("CUPEL_TENANT_VERIFER"));
  CHECK_THAT(bench.Run({"list", "--config", "/no/such"}),
             IsRefused("/no/such"));
  CHECK(bench.state().calls == 0);
  // What needs no verifier works all the same.
  bench.Configure("verifer: x\n");
  CHECK(bench.Run({"policy", "show", VectorPath("guide/policy.json")})
            .exit_code == 0);
}

TEST_CASE("connection: a verifier of another CA is not believed") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  bench.Write("other.pem", TestCa("Other CA").pem());
  CHECK_THAT(bench.Run({"status", kAgent, "--ca", bench.Path("other.pem")}),
             IsRefused("is --ca that verifier's?"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("connection: a verifier of another name is not believed") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const CommandResult result = bench.Run(
      {"status", kAgent, "-v", absl::StrCat("127.0.0.1:", bench.port())});
  CAPTURE(result);
  CHECK(result.exit_code == 2);
  CHECK(bench.state().calls == 0);
}

TEST_CASE("connection: an operator whom the verifier doesn't know") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const TestOperator other = MakeTestOperator("operator");
  bench.Write("cert.pem", other.certificate_pem);
  bench.Write("key.pem", other.key_pem);
  const CommandResult result = bench.Run({"status", kAgent});
  CHECK_THAT(result, IsRefused("can't talk to the verifier"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("connection: without a certificate no command starts") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const Arguments status = {"status", kAgent};
  CHECK_THAT(bench.Run(status + Arguments{"--cert", "/no/such"}),
             IsRefused("--cert"));
  CHECK_THAT(bench.Run(status + Arguments{"--key", "/no/such"}),
             IsRefused("--key"));
  CHECK_THAT(bench.Run(status + Arguments{"--ca", "/no/such"}),
             IsRefused("--ca"));
  CHECK_THAT(bench.Run(status + Arguments{"--cert", bench.Path("key.pem")}),
             IsRefused("no certificate"));
  const std::string other =
      bench.Write("other.pem", MakeTestOperator("other").key_pem);
  CHECK_THAT(bench.Run(status + Arguments{"--key", other}),
             IsRefused("not the key of"));
  // Whichever of the CA's certificates it is.
  const std::string ca = bench.Write(
      "roots.pem", absl::StrCat(TestCa("Other CA").pem(),
                                "-----BEGIN CERTIFICATE-----\nMIIB\n"));
  CHECK_THAT(bench.Run(status + Arguments{"--ca", ca}),
             IsRefused("roots.pem: no certificates in PEM: PEM block 2"));
  CHECK(bench.state().calls == 0);
}

// The verifier itself refuses who shows nothing: openssl's client, since
// cupel-tenant has no way to.
TEST_CASE("connection: the verifier lets nobody in without a certificate") {
  SkipUnlessInPath({"openssl"});
  OnlineBench bench;
  const auto connect = [&](const Arguments& more) {
    const auto result = RunCommand(
        Arguments{"openssl", "s_client", "-connect",
                  absl::StrCat("localhost:", bench.port()), "-CAfile",
                  bench.Path("ca.pem"), "-alpn", "h2", "-tls1_2", "-brief"} +
        more);
    REQUIRE(result.ok());
    return result->exit_code;
  };
  CHECK(connect({"-cert", bench.Path("cert.pem"), "-key",
                 bench.Path("key.pem")}) == 0);
  CHECK(connect({}) != 0);
}

TEST_CASE("connection: nobody listens") {
  OnlineBench bench;
  CHECK_THAT(bench.Run({"list", "-v", "localhost:1"}),
             IsRefused("connection refused"));
}

TEST_CASE("connection: options that make no sense") {
  OnlineBench bench;
  CHECK_THAT(bench.Run({"list", "-v", "unix:/x"}), IsRefused("--verifier"));
  CHECK_THAT(bench.Run({"list", "--timeout", "soon"}), IsRefused("--timeout"));
  CHECK_THAT(bench.Run({"list", "--verifier-port", "0"}),
             IsRefused("--verifier-port"));
  CommandOptions options;
  options.environment["CUPEL_TENANT_TIMEOUT"] = "soon";
  CHECK_THAT(bench.Run({"list"}, options), IsRefused("CUPEL_TENANT_TIMEOUT"));
  CHECK(bench.state().calls == 0);
}

}  // namespace
}  // namespace cupel::testing
