import CertificateAuthority
import ClusterSecurity
import Foundation
import Glibc
import Identities
import Services
import Testing

@Suite struct PKITests {
  private final class Directory: Sendable {
    let path = NSTemporaryDirectory() + "iov-pki-" + UUID().uuidString

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    func mode(_ name: String) -> mode_t {
      var facts = stat()
      return stat(file(name), &facts) == 0 ? facts.st_mode & 0o777 : 0
    }

    func text(_ name: String) throws -> String { try String(contentsOfFile: file(name), encoding: .utf8) }
  }

  private func made(_ directory: Directory, cluster: String = "rack") async throws {
    let run = try await run(["pki", "init", "--cluster", cluster, "--directory", directory.file("pki")])
    #expect(run.code == 0, "\(run.errors)")
  }

  private func issue(_ directory: Directory, _ words: String..., to out: String) async throws -> Run {
    try await run(["pki", "issue"] + words + ["--ca", directory.file("pki"), "--out", directory.file(out)])
  }

  @Test func anAuthorityIsMadeOnceAndItsKeyIsItsOwners() async throws {
    let directory = Directory()
    try await made(directory)
    #expect(directory.mode("pki/ca.key") == 0o600)
    #expect(directory.mode("pki/ca.pem") == 0o644)
    let key = try directory.text("pki/ca.key")
    let again = try await run(["pki", "init", "--cluster", "rack", "--directory", directory.file("pki")])
    #expect(again.code == 1)
    #expect(again.errors.contains("ca.key exists: an authority is made once"))
    #expect(try directory.text("pki/ca.key") == key)
    let odd = try await run(["pki", "init", "--cluster", "The Rack", "--directory", directory.file("other")])
    #expect(odd.code == 1)
    #expect(odd.errors.contains("'The Rack' is not a cluster's name"))
  }

  @Test func certificatesSayWhoSomeoneIs() async throws {
    let directory = Directory()
    try await made(directory)
    for (words, uri) in [
      (["coordinator", "--ip", "10.77.0.1", "--ip", "fd00::1", "--dns", "mesh.example.org"], "iov://rack/coordinator"),
      (["agent", "host-a", "--ip", "10.78.0.2"], "iov://rack/agent/host-a"),
      (["operator", "alice"], "iov://rack/operator/alice"),
      (["tenant", "blue"], "iov://rack/tenant/blue"),
    ] {
      let out = words[0]
      let issued = try await run(
        ["pki", "issue"] + words + ["--ca", directory.file("pki"), "--out", directory.file(out), "--days", "30"])
      #expect(issued.code == 0, "\(issued.errors)")
      #expect(directory.mode(out + "/key.pem") == 0o600)
      #expect(directory.mode(out + "/certificate.pem") == 0o644)
      let shown = try await run(["pki", "show", directory.file(out), "--ca", directory.file("pki")])
      #expect(shown.code == 0, "\(shown.output)\(shown.errors)")
      #expect(shown.output.contains(uri))
      #expect(shown.output.contains(" days left"))
      #expect(shown.output.contains("issued by the authority"))
    }
    let shown = try await run(["pki", "show", directory.file("coordinator")])
    #expect(shown.output.contains("10.77.0.1, fd00::1"))
    #expect(shown.output.contains("mesh.example.org"))
    #expect(try await run(["pki", "show", directory.file("agent")]).output.contains("10.78.0.2"))
    #expect(try await run(["pki", "show", directory.file("pki")]).output.contains("an authority"))
  }

  @Test func aRenewalKeepsTheKeyAndAnotherHoldersCertificateStays() async throws {
    let directory = Directory()
    try await made(directory)
    #expect(try await issue(directory, "agent", "host-a", "--ip", "10.78.0.2", to: "a").code == 0)
    let key = try directory.text("a/key.pem")
    let certificate = try directory.text("a/certificate.pem")
    #expect(try await issue(directory, "agent", "host-a", to: "a").code == 0)
    #expect(try directory.text("a/key.pem") == key)
    #expect(try directory.text("a/certificate.pem") != certificate)
    #expect(try await run(["pki", "show", directory.file("a")]).output.contains("10.78.0.2"))
    let other = try await issue(directory, "agent", "host-b", to: "a")
    #expect(other.code == 1)
    #expect(
      other.errors.contains("is for iov://rack/agent/host-a, not for iov://rack/agent/host-b: choose another --out"))
  }

  @Test func whatCannotBeIsExplained() async throws {
    let directory = Directory()
    try await made(directory)
    let nowhere = try await run(["pki", "issue", "agent", "a", "--ca", "/nowhere", "--out", directory.file("a")])
    #expect(nowhere.code == 1)
    #expect(nowhere.errors.contains("/nowhere holds no authority"))
    #expect(try await issue(directory, "agent", to: "a").code == 64)
    #expect(try await issue(directory, "coordinator", "x", to: "a").code == 64)
    #expect(try await issue(directory, "agent", "a", "--dns", "x", to: "a").code == 64)
    #expect(try await issue(directory, "operator", "a", "--ip", "10.0.0.1", to: "a").code == 64)
    #expect(try await issue(directory, "coordinator", "--ip", "300.1.1.1", to: "a").code == 64)
    #expect(try await issue(directory, "agent", "a", "--days", "0", to: "a").code == 64)
    #expect(try await issue(directory, "agent", "Host A", to: "a").errors.contains("is not a host's name"))
    let file = try await run(["pki", "show", "/etc/passwd"])
    #expect(file.code == 1)
    #expect(file.errors.contains("/etc/passwd holds no certificate in PEM"))
  }

  @Test func aDamagedFileIsNamed() async throws {
    let directory = Directory()
    try await made(directory)
    #expect(try await issue(directory, "agent", "a", to: "a").code == 0)
    for file in ["a/key.pem", "a/certificate.pem", "pki/ca.key", "pki/ca.pem"] {
      let whole = try directory.text(file)
      try String(whole.prefix(whole.count / 2)).write(toFile: directory.file(file), atomically: true, encoding: .utf8)
      let refused = try await issue(directory, "agent", "a", to: "a")
      #expect(refused.code == 1)
      #expect(refused.errors.contains("\(directory.file(file)) holds no "), "\(refused.errors)")
      try whole.write(toFile: directory.file(file), atomically: true, encoding: .utf8)
    }
    #expect(try await issue(directory, "agent", "a", to: "a").code == 0)
  }

  @Test func endedAndForeignCertificatesAreFound() async throws {
    let directory = Directory()
    try await made(directory)
    let other = Directory()
    try await made(other)
    #expect(try await issue(directory, "agent", "a", to: "a").code == 0)
    let foreign = try await run(["pki", "show", directory.file("a"), "--ca", other.file("pki")])
    #expect(foreign.code == 1)
    #expect(foreign.output.contains("was not issued by this authority"))

    let authority = try AuthorityDirectory(directory.file("pki")).authority()
    let key = try CertificateKey(pem: directory.text("a/key.pem"))
    let ended = try authority.issue(
      try ClusterIdentity(cluster: "rack", role: .agent(host: "a")), for: key, notValidAfter: Date() - 3600)
    try ended.write(toFile: directory.file("a/certificate.pem"), atomically: true, encoding: .utf8)
    let shown = try await run(["pki", "show", directory.file("a")])
    #expect(shown.code == 1)
    #expect(shown.output.contains("it ended on "))
  }

  @Test func theCommandLineShowsItsCertificate() async throws {
    let directory = Directory()
    try await made(directory)
    #expect(try await issue(directory, "coordinator", to: "coordinator").code == 0)
    #expect(try await issue(directory, "operator", "alice", to: "alice").code == 0)
    let coordinator = try await FakeCoordinator(
      security: try TLSSettings(directory: directory.file("coordinator")).server().security)
    let listed = try await coordinator.iov("host", "list", "--tls", directory.file("alice"))
    #expect(listed.code == 0, "\(listed.errors)")
    #expect(
      try await run(coordinator.arguments(["host", "list"]), environment: ["IOV_TLS": directory.file("alice")]).code
        == 0)
    let without = try await coordinator.iov("host", "list")
    #expect(without.code == 64)
    #expect(without.errors.contains("iov pki issue operator NAME"))
    let plain = try await coordinator.iov("host", "list", "--plain-text", "--connect-timeout", "0")
    #expect(plain.code == 3)
    #expect(plain.errors.contains("speaks TLS"))
    let missing = try await coordinator.iov("host", "list", "--tls", "/nowhere")
    #expect(missing.errors.contains("cannot open /nowhere/certificate.pem"))
  }
}
