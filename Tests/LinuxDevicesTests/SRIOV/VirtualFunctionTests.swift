import CLinux
import FakeDevices
import Glibc
import Testing

@testable import LinuxDevices

@Suite struct VirtualFunctionTests {
  private let card = FakeCard(count: 4)
  private var control: VirtualFunctionControl { VirtualFunctionControl(card) }
  private let address = MACAddress("52:54:00:aa:00:11")

  private func everything() throws -> VirtualFunctionSettings {
    let tag = try #require(VLANTag(identifier: 42, priority: 3))
    return VirtualFunctionSettings {
      $0.macAddress = address
      $0.vlan = .tag(tag)
      $0.minimumTransmitBitsPerSecond = 10_000_000
      $0.maximumTransmitBitsPerSecond = 100_000_000
      $0.spoofCheck = false
      $0.trust = true
      $0.rssQuery = true
      $0.linkState = .enabled
    }
  }

  @Test func everySettingIsSetAndReadBack() throws {
    let wanted = try everything()
    let outcome = try control.apply(wanted, to: 2, on: card.index)
    #expect(Set(outcome.outcomes.values) == [.supported])
    #expect(outcome.outcomes.count == VirtualFunctionAttribute.Kind.allCases.count)
    #expect(outcome.found == wanted)
    #expect(try control.settings(of: 2, on: card.index) == wanted)
    #expect(try control.settings(of: 1, on: card.index).macAddress == .zero)
  }

  @Test func whatIsUnsetIsLeftAlone() throws {
    _ = try control.apply(everything(), to: 2, on: card.index)
    let outcome = try control.apply(VirtualFunctionSettings { $0.trust = false }, to: 2, on: card.index)
    #expect(outcome.outcomes == [.trust: .supported])
    var wanted = try everything()
    wanted.trust = false
    #expect(outcome.found == wanted)
  }

  @Test func whatIsSoAlreadyIsNotWritten() throws {
    _ = try control.apply(everything(), to: 2, on: card.index)
    card.state.withLock { $0.requests = [] }
    let outcome = try control.apply(everything(), to: 2, on: card.index)
    #expect(Set(outcome.outcomes.values) == [.unchanged])
    #expect(card.state.withLock { $0.requests.map(\.type) } == [UInt16(RTM_GETLINK)])
  }

  @Test func aVLANThatIsSwitchedOffIsNotOneThatIsUnset() throws {
    _ = try control.apply(everything(), to: 2, on: card.index)
    #expect(try control.apply(VirtualFunctionSettings(), to: 2, on: card.index).outcomes.isEmpty)
    let outcome = try control.apply(VirtualFunctionSettings { $0.vlan = .off }, to: 2, on: card.index)
    #expect(outcome.outcomes == [.vlan: .supported])
    #expect(outcome.found.vlan == .off)
  }

  @Test func aProvidersTagIsReadBackAsSuch() throws {
    let tag = try #require(VLANTag(identifier: 7, tagProtocol: .provider))
    let outcome = try control.apply(VirtualFunctionSettings { $0.vlan = .tag(tag) }, to: 0, on: card.index)
    #expect(outcome.outcomes == [.vlan: .supported])
    #expect(outcome.found.vlan == .tag(tag))
  }

  @Test(arguments: [(0, 0), (4095, 0), (1, 8)] as [(UInt16, UInt8)])
  func aTagThatTheKernelWouldTakeForSomethingElseIsNone(identifier: UInt16, priority: UInt8) {
    #expect(VLANTag(identifier: identifier, priority: priority) == nil)
  }

  /// As an emulated igb does it.
  @Test func eachRefusalIsOfItsOwnSetting() throws {
    card.state.withLock {
      $0.refusals = [.linkState: EOPNOTSUPP, .rssQuery: EOPNOTSUPP, .rate: EINVAL]
      $0.ignored = [.spoofCheck]
      $0.untold = [.trust]
    }
    let outcome = try control.apply(everything(), to: 0, on: card.index)
    #expect(outcome.outcomes[.macAddress] == .supported)
    #expect(outcome.outcomes[.vlan] == .supported)
    #expect(outcome.outcomes[.linkState]?.isUnsupported == true)
    #expect(outcome.outcomes[.rate]?.isUnsupported == false)
    #expect(outcome.outcomes[.spoofCheck] == .acceptedUnverified(readBack: .spoofCheck(true)))
    #expect(outcome.outcomes[.trust] == .acceptedUnverified(readBack: nil))
    #expect(outcome.refusals.map(\.kind) == [.rate, .rssQuery, .linkState])
    #expect(outcome.unverified == [.spoofCheck, .trust])
    #expect(outcome.refusals[0].error.description.contains("set rate of virtual function 0"))
  }

  @Test func aProbeFindsOutWithoutChangingAnything() throws {
    card.state.withLock { $0.refusals = [.linkState: EOPNOTSUPP] }
    let before = card.state.withLock { $0.functions }
    let outcome = try control.probe(1, on: card.index)
    #expect(outcome.outcomes[.linkState]?.isUnsupported == true)
    #expect(outcome.outcomes.values.filter { $0 == .supported }.count == 6)
    card.state.withLock { state in
      var expected = before
      expected[1]?.rssQuery = false
      #expect(state.functions == expected)
    }
  }

  @Test func aFunctionThatIsNotThereIsSaidToBeMissing() {
    let error = #expect(throws: NetlinkError.self) {
      try control.apply(VirtualFunctionSettings { $0.trust = true }, to: 9, on: card.index)
    }
    #expect(error?.isAbsence == true)
  }

  @Test func aCardThatIsPulledOutEndsTheWork() throws {
    card.state.withLock { $0.refusals = [.macAddress: ENODEV] }
    let error = #expect(throws: NetlinkError.self) { try control.apply(everything(), to: 0, on: card.index) }
    #expect(error?.errno == ENODEV)
    #expect(card.state.withLock { $0.requests.count } == 2)
  }

  @Test func countersAreReadWhereTheyAreAskedFor() throws {
    #expect(try control.functions(of: card.index).map(\.counters) == [nil, nil, nil, nil])
    let counted = try control.functions(of: card.index, withCounters: true)
    #expect(counted.map(\.index) == [0, 1, 2, 3])
    #expect(counted[3].counters?.receivedPackets == 1003)
    #expect(counted[3].counters?.receiveDrops == 1003)
    #expect(try control.all().keys.sorted() == [card.index])
  }

  @Test func aListThatIsCutAnywhereIsReadWithinItsBounds() throws {
    let request = NetlinkRequest(RTM_GETLINK, operation: "") {
      $0.append(ifinfomsg())
      $0.attribute(Int(IFLA_EXT_MASK), UInt32(RTEXT_FILTER_VF))
    }
    let whole = try #require(try card.request(request).first)
    for length in 0...whole.payload.count {
      let list = VirtualFunctionState.list(NetlinkReply(type: whole.type, payload: whole.payload.prefix(length)))
      #expect(list == nil || list?.functions.count ?? 5 <= 4)
    }
  }

  @Test(arguments: [RecordedLinks.withoutCounters, RecordedLinks.withCounters])
  func whatAKernelReallySaidIsRead(reply: NetlinkReply) throws {
    let link = try #require(Link(reply))
    #expect(link.name == "card0")
    #expect(link.pciAddress == PCIAddress(bus: 1, device: 0, function: 0))
    #expect(link.virtualFunctionCount == 2)
    #expect(link.permanentMACAddress == MACAddress("52:54:00:aa:00:01"))
    let (card, functions) = try #require(VirtualFunctionState.list(reply))
    #expect(card == link.index)
    #expect(functions.map(\.index) == [0, 1])
    let tag = try #require(VLANTag(identifier: 42, priority: 3))
    #expect(
      functions[0].settings
        == VirtualFunctionSettings {
          $0.macAddress = MACAddress("52:54:00:aa:77:01")
          $0.vlan = .tag(tag)
          $0.minimumTransmitBitsPerSecond = 0
          $0.maximumTransmitBitsPerSecond = 100_000_000
          $0.spoofCheck = false
          $0.trust = true
          $0.linkState = .automatic
        })
    #expect(functions[1].settings.vlan == .off)
    #expect(functions[1].settings.spoofCheck == true)
    #expect(functions[1].settings.rssQuery == nil)
    #expect((functions[0].counters != nil) == (reply.payload == RecordedLinks.withCounters.payload))
  }

  @Test func aRealKernelAnswersAboutAnInterfaceWithoutFunctions() throws {
    let route = try RouteNetlink(in: .current())
    let control = VirtualFunctionControl(route)
    let loopback = try #require(try route.links().first { $0.isLoopback })
    #expect(try control.functions(of: loopback.index).isEmpty)
    #expect(try control.all()[loopback.index] == nil)
    #expect(loopback.virtualFunctionCount == nil)
    #expect(throws: NetlinkError.self) { try control.set(.trust(true), of: 0, on: loopback.index) }
  }
}

@Suite struct TransmitRateTests {
  @Test(
    arguments: [
      (0, 0, 0, 0), (0, 1_000_000, 0, 1), (0, 1_999_999, 0, 1), (1, 5_000_000, 1, 5), (1_500_000, 1_500_000, 1, 1),
      (1_500_000, 0, 2, 0), (1_200_000, 2_500_000, 2, 2), (0, 100_000_000_000, 0, 100_000),
    ] as [(UInt64, UInt64, UInt32, UInt32)])
  func aLimitIsRoundedDownAndAPromiseUp(minimum: UInt64, maximum: UInt64, low: UInt32, high: UInt32) throws {
    let rate = try TransmitRate(minimumBitsPerSecond: minimum, maximumBitsPerSecond: maximum)
    #expect(rate == TransmitRate(minimumMegabits: low, maximumMegabits: high))
  }

  @Test(arguments: [(0, 999_999), (0, 1), (2_000_001, 2_000_000), (0, .max), (.max, 0)] as [(UInt64, UInt64)])
  func whatACardCannotBeToldIsRefused(minimum: UInt64, maximum: UInt64) {
    #expect(throws: InexpressibleRate.self) {
      try TransmitRate(minimumBitsPerSecond: minimum, maximumBitsPerSecond: maximum)
    }
  }

  @Test func aLimitAloneKeepsThePromiseThatThereIs() throws {
    let found = VirtualFunctionSettings {
      $0.minimumTransmitBitsPerSecond = 5_000_000
      $0.maximumTransmitBitsPerSecond = 0
    }
    let wanted = VirtualFunctionSettings { $0.maximumTransmitBitsPerSecond = 9_000_000 }
    #expect(try wanted.attributes(over: found) == [.rate(TransmitRate(minimumMegabits: 5, maximumMegabits: 9))])
  }
}
