#include "tests/support/stream_agent.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/certificate.h"
#include "common/crypto/digest.h"
#include "common/tpm/binding.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace cupel::testing {
namespace {

constexpr size_t kMaxPemSize = size_t{1} << 20;

std::string TextOf(const std::string& path) {
  const auto bytes = ReadFile(path, kMaxPemSize);
  return bytes.ok() ? std::string(AsText(*bytes)) : std::string();
}

tpm::PcrSelection SelectionOf(const v1::Challenge& challenge) {
  std::vector<tpm::BankSelection> banks;
  for (const v1::BankSelection& selection : challenge.selection()) {
    tpm::BankSelection& wanted = banks.emplace_back();
    wanted.bank = crypto::HashAlgorithmFromName(selection.bank()).value();
    for (const uint32_t pcr : selection.pcrs()) wanted.mask |= 1U << pcr;
  }
  return tpm::PcrSelection::Create(banks).value();
}

}  // namespace

std::shared_ptr<grpc::Channel> TlsChannel(const std::string& address,
                                          const std::string& ca_file,
                                          const std::string& client_folder) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = TextOf(ca_file);
  if (!client_folder.empty()) {
    tls.pem_cert_chain = TextOf(client_folder + "/certificate.pem");
    tls.pem_private_key = TextOf(client_folder + "/key.pem");
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls),
                                   arguments);
}

absl::Status EnrollMachine(verifier::Store& store, const AgentId& id,
                           const FakeMachine& machine, absl::string_view seed,
                           absl::Time time) {
  verifier::Enrollment enrollment;
  enrollment.ek_certificate = ToVector(AsBytes(seed));
  enrollment.ek_sha256 =
      crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(seed)).Hex();
  enrollment.ek_name = machine.tpm.ek_name();
  enrollment.ak_public = machine.tpm.ak().Serialize();
  enrollment.ak_name = machine.tpm.ak().Name();
  enrollment.time = time;
  enrollment.address = absl::StrCat("address of ", seed);
  return store
      .Enroll(id, enrollment, AsBytes(seed), /*issued=*/time, /*token=*/"",
              /*max_unclaimed_per_address=*/1)
      .status();
}

std::string AllowlistOf(const FakeMachine& machine) {
  std::string allowlist;
  for (const auto& [path, digests] : machine.policy.digests) {
    for (const crypto::Digest& digest : digests) {
      absl::StrAppend(&allowlist, digest.Hex(), "  ", path, "\n");
    }
  }
  return allowlist;
}

StreamAgent::StreamAgent(const std::shared_ptr<grpc::Channel>& channel,
                         FakeMachine& machine, const AgentId& id,
                         absl::Duration lifetime)
    : machine_(machine), id_(id), stub_(v1::Attestation::NewStub(channel)) {
  context_.set_deadline(absl::ToChronoTime(absl::Now() + lifetime));
  stream_ = stub_->Attest(&context_);
}

StreamAgent::~StreamAgent() { context_.TryCancel(); }

std::optional<v1::VerifierMessage> StreamAgent::Receive() {
  v1::VerifierMessage message;
  if (!stream_->Read(&message)) return std::nullopt;
  if (message.has_refusal()) refusal_ = message.refusal().reason();
  if (message.has_challenge()) {
    challenged_ = message.challenge().certificate_sha256();
  }
  return message;
}

bool StreamAgent::SayHello() {
  v1::AgentMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_agent_id(std::string(AsText(id_.bytes())));
  hello.set_protocol_version(1);
  hello.add_banks("sha256");
  hello.add_list_pcrs(10);
  return Send(message);
}

std::optional<v1::Verdict> StreamAgent::Round() {
  // A challenge that comes after the answer to another one is replaced when
  // that one's verdict is there.
  bool answered = false;
  while (true) {
    const std::optional<v1::VerifierMessage> message = Receive();
    if (!message.has_value() || message->has_refusal()) return std::nullopt;
    // Where the verifier takes nothing any more it has said why: that is read.
    if (message->has_challenge() && !std::exchange(answered, true)) {
      (void)(SendQuote(message->challenge()) && (!proven_ || SendList()));
    }
    if (message->has_list_request()) {
      offset_ = message->list_request().byte_offset();
      proven_ = true;
      SendList();
    }
    if (message->has_verdict()) {
      offset_ = message->verdict().next_byte_offset();
      return message->verdict();
    }
  }
}

bool StreamAgent::SendList() {
  v1::AgentMessage message;
  const std::vector<uint8_t>& list = machine_.list.bytes();
  message.mutable_chunk()->set_data(list.data() + offset_,
                                    list.size() - offset_);
  message.mutable_chunk()->set_last(true);
  return Send(message);
}

bool StreamAgent::SendQuote(const v1::Challenge& challenge) {
  const tpm::PcrSelection selection = SelectionOf(challenge);
  const FakeTpm tpm = machine_.TpmNow(selection);
  v1::AgentMessage message;
  v1::Quote& quote = *message.mutable_quote();
  tpm.pcrs.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
    v1::PcrValue& reported = *quote.add_pcrs();
    reported.set_bank(
        std::string(crypto::HashAlgorithmName(value.algorithm())));
    reported.set_pcr(pcr);
    reported.set_value(std::string(AsText(value.bytes())));
  });
  const auto certificate = crypto::Digest::Create(
      crypto::HashAlgorithm::kSha256, AsBytes(challenge.certificate_sha256()));
  if (!certificate.ok()) return false;
  const auto data =
      tpm::QuoteQualifyingData(AsBytes(challenge.nonce()), id_, *certificate);
  if (!data.ok()) return false;
  const FakeQuote made = tpm.Quote(selection, data->bytes());
  quote.set_attest(std::string(AsText(made.attest)));
  quote.set_signature(std::string(AsText(made.signature)));
  quote.set_nonce(challenge.nonce());
  return Send(message);
}

crypto::Digest StreamAgent::ServerCertificate() const {
  const auto values = context_.auth_context()->FindPropertyValues(
      GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (values.size() != 1) return crypto::Digest();
  const auto certificate = crypto::Certificate::FromPem(
      absl::string_view(values[0].data(), values[0].size()));
  return certificate.ok() ? certificate->fingerprint() : crypto::Digest();
}

}  // namespace cupel::testing
