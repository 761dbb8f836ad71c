import Testing

@testable import LinuxDevices

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"))
struct PeerAdmissionTests {
  func tunnel(_ identifier: UInt32, _ local: String = "192.0.2.1", _ remote: String = "192.0.2.2") -> VXLANParameters {
    VXLANParameters(networkIdentifier: identifier, local: IPAddress(local), remote: IPAddress(remote), port: 4789)
  }

  @Test func theTableComesWithTheFirstPeerAndGoesWithTheLast() throws {
    let host = try TestNamespace()
    let admission = try PeerAdmission(in: host.namespace)
    #expect(try !admission.isActive())
    for identifier in [1, 2, 1] as [UInt32] { try admission.admit(tunnel(identifier)) }
    #expect(try admission.isAdmitted(tunnel(1)))
    #expect(try !admission.isAdmitted(tunnel(1, "192.0.2.1", "192.0.2.3")))
    try admission.revoke(tunnel(1))
    #expect(try !admission.isAdmitted(tunnel(1)))
    #expect(try admission.isAdmitted(tunnel(2)))
    for _ in 0..<2 { try admission.revoke(tunnel(2)) }
    #expect(try !admission.isActive())
  }

  @Test func addressFamiliesDoNotMeet() throws {
    let host = try TestNamespace()
    let admission = try PeerAdmission(in: host.namespace)
    let six = tunnel(1, "2001:db8::1", "2001:db8::2")
    try admission.admit(six)
    #expect(try admission.isAdmitted(six))
    try admission.admit(tunnel(1))
    try admission.revoke(six)
    #expect(try admission.isAdmitted(tunnel(1)))
    try admission.revoke(tunnel(1))
    #expect(try !admission.isActive())
    #expect(throws: NetlinkError.self) { try admission.admit(tunnel(1, "192.0.2.1", "2001:db8::2")) }
  }
}
