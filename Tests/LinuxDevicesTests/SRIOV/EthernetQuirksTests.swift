import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct EthernetQuirksTests {
  private let board = PCIIdentifiers(vendor: 0x8086, device: 0x10c9, subsystemVendor: 0x8086, subsystemDevice: 0xa03c)
  private let emulated = PCIIdentifiers(
    vendor: 0x8086, device: 0x10c9, subsystemVendor: 0x1af4, subsystemDevice: 0x1100)

  @Test func aCardOfNoKnownDriverKeepsItsPromises() {
    #expect(EthernetQuirks(driver: nil, identifiers: board) == EthernetQuirks())
    #expect(EthernetQuirks(driver: "newdriver", identifiers: board) == EthernetQuirks())
  }

  @Test func onlyTheEmulatedCardForgetsItsLimits() {
    let real = EthernetQuirks(driver: "igb", identifiers: board)
    #expect(!real.ignoresRate)
    #expect(real.refusesMinimumRate)
    #expect(real.enforceableLimit(bitsPerSecond: 5_500_000) == 5_000_000)
    let fake = EthernetQuirks(driver: "igb", identifiers: emulated)
    #expect(fake.ignoresRate && fake.ignoresSpoofCheck)
    #expect(fake.enforceableLimit(bitsPerSecond: 5_500_000) == nil)
    #expect(fake.notes.count == real.notes.count + 1)
  }

  @Test(
    arguments: [
      ("i40e", 49_999_999, nil), ("i40e", 120_000_000, 100_000_000), ("ixgbe", 10_000_000, nil),
      ("ixgbe", 11_999_999, 11_000_000), ("ice", 999_999, nil), ("ice", 1_000_000, 1_000_000),
    ] as [(String, UInt64, UInt64?)])
  func aLimitIsNeverEnforcedAboveWhatWasAsked(driver: String, asked: UInt64, kept: UInt64?) {
    #expect(EthernetQuirks(driver: driver, identifiers: board).enforceableLimit(bitsPerSecond: asked) == kept)
  }

  @Test(arguments: ["bnxt_en", "mlx5_core", "ice", "igb", "ixgbe", "i40e"])
  func everyQuirkHasAReasonAndASource(driver: String) {
    let quirks = EthernetQuirks(driver: driver, identifiers: emulated)
    #expect(!quirks.notes.isEmpty)
    #expect(quirks.notes.allSatisfy { !$0.reason.isEmpty && !$0.source.isEmpty })
  }

  /// A driver that makes none while its interface is down answers success, and is found out by reading back.
  @Test func aDriverThatSilentlyMakesNoneIsFoundOut() throws {
    let card = PCIAddress(bus: 1, device: 0, function: 0)
    let kernel = try FakeKernel()
    kernel.addCard(.init(address: card, driver: "bnxt_en", port: PCIAddress(bus: 0, device: 2, function: 0)))
    kernel.behaviour.withLock { $0.most = 0 }
    let control = SRIOVControl(kernel.sysfs)
    #expect(throws: SRIOVError.fewer(card, asked: 4, got: 0, state: .unchanged(0))) {
      try control.carryOut(control.plan(card, count: 4, holders: [:]))
    }
    #expect(EthernetQuirks(driver: "bnxt_en", identifiers: board).needsInterfaceUp)
  }
}
