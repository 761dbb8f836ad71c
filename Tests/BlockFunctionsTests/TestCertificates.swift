import CertificateAuthority
import Foundation
import FunctionPluginKit
import Identities
import Synchronization

/// The certificates of a cluster's hosts, issued as `iov pki` does. Everything goes with it.
final class TestCertificates: Sendable {
  let directory = "/tmp/iov-certificates-\(UInt64.random(in: .min ... .max))"
  private let authority: CertificateAuthority

  init(cluster: String = "rack") throws {
    authority = try CertificateAuthority(cluster: cluster, days: 2)
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  /// Issues a certificate, or renews it.
  ///
  /// - Parameters:
  ///   - name: Whose identity it is; nil: the host's.
  ///   - authority: Of another cluster; the host goes on believing its own.
  @discardableResult
  func issue(
    _ host: String, as name: String? = nil, addresses: [[UInt8]] = [[127, 0, 0, 1]], days: Int = 1,
    by other: TestCertificates? = nil
  ) throws -> PluginTLS {
    let place = CertificateDirectory(directory + "/" + host)
    try? FileManager.default.removeItem(atPath: place.certificatePath)
    let identity = try ClusterIdentity(cluster: authority.cluster, role: .agent(host: name ?? host))
    try place.issue(identity, by: other?.authority ?? authority, ipAddresses: addresses, days: days)
    try authority.certificatePEM.write(toFile: place.authorityPath, atomically: true, encoding: .utf8)
    return PluginTLS(
      certificate: place.certificatePath, key: place.keyPath, trustRoots: place.authorityPath,
      peerSubject: CertificateSubject.ofAgents(in: authority.cluster))
  }
}
