import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_ethernet

/// What is decided about functions of the card's own, without a card.
@Suite struct OwnFunctionTests {
  private func request(_ change: (inout Assignment) -> Void = { _ in }) -> FunctionRequest {
    var assignment = Assignment {
      $0.function = "ethernet/serial/1/0/7"
      $0.endNode = "ethernet/serial/1/0"
      $0.path = .direct
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:07" } }
    }
    change(&assignment)
    return FunctionRequest {
      $0.assignment = assignment
      $0.role = .direct
    }
  }

  private func plan(_ change: (inout Assignment) -> Void = { _ in }) throws -> FunctionPlan {
    try FunctionPlan(request(change), vxlanPort: 4789)
  }

  @Test func onlyADirectPathIsOfTheCardsOwn() throws {
    #expect(try plan().isOwn)
    #expect(try !plan { $0.path = .directSoftware }.isOwn)
    #expect(try !plan { $0.path = .unspecified }.isOwn)
  }

  @Test func unsetIsNotZero() throws {
    let nothing = try plan().settings
    #expect(nothing.vlan == nil && nothing.trust == nil && nothing.linkState == nil && nothing.spoofCheck == nil)
    let all = try plan {
      $0.attributes?.ethernet?.vlan = 100
      $0.attributes?.ethernet?.vlanPriority = 5
      $0.attributes?.ethernet?.vlanProtocol = .ieee8021ad
      $0.attributes?.ethernet?.trust = false
      $0.attributes?.ethernet?.linkState = .enabled
      $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 100_000_000
    }.settings
    #expect(all.vlan == VLANTag(identifier: 100, priority: 5, tagProtocol: .provider).map { .tag($0) })
    #expect(all.trust == false)
    #expect(all.linkState == .enabled)
    #expect(all.maximumTransmitBitsPerSecond == 100_000_000)
    #expect(all.macAddress == MACAddress("02:00:00:00:00:07"))
  }

  @Test func whatIsNotAskedForIsAsWhenNobodyAsks() throws {
    let asked = try plan { $0.attributes?.ethernet?.trust = true }.settings.over(EthernetFunctions.defaultSettings)
    #expect(asked.trust == true)
    #expect(asked.vlan == .off)
    #expect(asked.linkState == .automatic)
    #expect(asked.maximumTransmitBitsPerSecond == 0)
  }

  @Test func aVLANThatIsNoneIsRefused() {
    #expect(throws: PluginError.self) { try plan { $0.attributes?.ethernet?.vlan = 0 } }
    #expect(throws: PluginError.self) { try plan { $0.attributes?.ethernet?.vlan = 4095 } }
  }

  @Test func everyAnswerOfADriverIsToldApart() {
    let unsupported = NetlinkError(errno: EOPNOTSUPP, operation: "set")
    var quirks = EthernetQuirks()
    quirks.ignoresRate = true
    let support = OwnSupport(
      [
        .macAddress: .supported, .vlan: .unchanged, .rate: .supported, .trust: .acceptedUnverified(readBack: nil),
        .linkState: .refused(unsupported), .spoofCheck: .supported,
      ], minimumRate: NetlinkError(errno: EINVAL, operation: "set"),
      providerTag: NetlinkError(errno: EPROTONOSUPPORT, operation: "set"),
      quirks: quirks)
    func found(_ name: String) -> Support? { support.attributes.first { $0.attribute == "ethernet.\(name)" }?.support }
    #expect(found("mac_address") == .supported)
    #expect(found("vlan") == .supported)
    #expect(found("vlan_protocol") == .refused)
    #expect(found("max_transmit_bits_per_second") == .unverified)
    #expect(found("min_transmit_bits_per_second") == .refused)
    #expect(found("max_receive_bits_per_second") == .refused)
    #expect(found("queues") == .refused)
    #expect(found("trust") == .unverified)
    #expect(found("link_state") == .refused)
    #expect(found("rss_query") == .unverified)
    #expect(support.attributes.allSatisfy { $0.support == .supported || !$0.reason.isEmpty })
  }

  @Test func onlyAFunctionOfTheCardsOwnGoesToAMachine() throws {
    let namespace = try TestHosts()
    let software = try plan {
      $0.path = .directSoftware
      $0.consumer = Consumer { $0.kind = .virtualMachine(VirtualMachineConsumer()) }
    }
    let error = #expect(throws: PluginError.self) { try namespace.a.checkConsumer(software) }
    #expect(error?.message.contains("needs the path direct") == true)
  }

  @Test func aCardWithoutSRIOVSaysSo() throws {
    let hosts = try TestHosts()
    var request = try hosts.request(.direct)
    request.assignment?.path = .direct
    let error = #expect(throws: PluginError.self) { try hosts.a.create(request) }
    #expect(error?.message.contains("makes no functions of its own (SR-IOV)") == true)
    #expect(hosts.a.validate(request).contains { $0.contains("makes no functions of its own") })
  }
}
