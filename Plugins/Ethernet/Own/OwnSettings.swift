import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// Settings that the card enforces for one of its functions.
extension EthernetFunctions {
  /// What a function that nobody has is set to.
  static let defaultSettings = VirtualFunctionSettings {
    $0.macAddress = .zero
    $0.vlan = .off
    $0.maximumTransmitBitsPerSecond = 0
    $0.minimumTransmitBitsPerSecond = 0
    $0.spoofCheck = true
    $0.trust = false
    $0.linkState = .automatic
    $0.rssQuery = false
  }

  /// Sets all that the plan asks for, and everything else to what it is when nobody asks.
  ///
  /// The MAC address takes effect when a driver is bound after that: a bound one keeps what it had.
  func applySettings(_ plan: FunctionPlan, to index: UInt32, of card: OwnCard) throws {
    var wanted = plan.settings
    wanted.maximumTransmitBitsPerSecond = try limit(plan, of: card)
    let outcome = try set(wanted.over(Self.defaultSettings), of: index, on: card)
    for (kind, result) in outcome.outcomes.sorted(by: { $0.key < $1.key }) {
      let isAsked = plan.settings.asks(for: kind)
      switch result {
      case .unchanged, .supported: continue
      case .refused(let error):
        // What the driver does not know, it has not been set to either.
        if !isAsked && error.isUnsupported { continue }
        throw PluginError(
          .failedPrecondition,
          "\(card.link.name) (driver \(card.function.driver ?? "none")) refuses the \(kind.words) of \(plan.names.function): "
            + error.reason)
      case .acceptedUnverified(let readBack):
        guard isAsked, kind != .rate || !plan.limitsAreBestEffort else { continue }
        throw PluginError(
          .failedPrecondition,
          "\(card.link.name) (driver \(card.function.driver ?? "none")) took the \(kind.words) of \(plan.names.function) and reads back "
            + (readBack.map { "\($0)" } ?? "nothing"))
      }
    }
  }

  /// A driver that takes rates only with a carrier is given some seconds for it: so long a card has none after its functions
  /// were made.
  private func set(
    _ settings: VirtualFunctionSettings, of index: UInt32, on card: OwnCard
  ) throws -> SettingsOutcome {
    let deadline = ContinuousClock.now + carrierPatience
    while true {
      // Looked at before: a carrier that comes in between must not make a refusal final.
      let needsCarrier = try card.quirks.rateNeedsCarrier && route.link(index: card.link.index)?.hasCarrier == false
      let outcome = try functions.apply(settings, to: index, on: card.link.index)
      guard needsCarrier, case .refused(let error) = outcome.outcomes[.rate] else { return outcome }
      guard ContinuousClock.now < deadline else {
        throw PluginError(
          .unavailable,
          "\(card.link.name) has no carrier, and its driver \(card.function.driver ?? "") takes rates only with one "
            + "(\(error.reason)): look at the cable and at the other end")
      }
      usleep(50_000)
    }
  }

  /// As the card will keep it; what it would not keep at all is for the interface's queue.
  private func limit(_ plan: FunctionPlan, of card: OwnCard) throws -> UInt64? {
    guard let asked = plan.settings.maximumTransmitBitsPerSecond, !card.quirks.ignoresRate else { return nil }
    if let limit = card.quirks.enforceableLimit(bitsPerSecond: asked) { return limit }
    throw PluginError(
      .invalidArgument,
      "a rate of \(asked) bit/s was asked for; \(card.link.name) (driver \(card.function.driver ?? "none")) keeps limits from "
        + "\(card.quirks.smallestLimitMegabits) Mbit/s on")
  }

  /// Back to what a function that nobody has is set to, of all that the card can set.
  func resetSettings(of index: UInt32, of card: OwnCard) throws {
    let outcome = try set(Self.defaultSettings, of: index, on: card)
    for (kind, result) in outcome.outcomes.sorted(by: { $0.key < $1.key }) {
      guard case .refused(let error) = result, !error.isUnsupported, outcome.found[kind] != Self.unset[kind] else {
        continue
      }
      throw PluginError(
        .unavailable,
        "\(card.link.name) keeps the \(kind.words) of the function's last holder: \(error.reason). It stays out of use")
    }
  }

  private static let unset = VirtualFunctionSettings()

  // MARK: Cutting off

  /// Makes the function reach nobody, whoever drives it, and proves it by reading back: its link is off, or it is alone in
  /// a VLAN where nobody else is.
  func cutOff(_ index: UInt32, of card: OwnCard) throws {
    var refusals: [String] = []
    for attribute in Self.fences(configuration.fenceVLAN) {
      do {
        try functions.set(attribute, of: index, on: card.link.index)
        if try isCutOff(index, of: card) { return }
        refusals.append("\(attribute.kind.words): accepted, and reads back otherwise")
      } catch let error as NetlinkError {
        refusals.append("\(attribute.kind.words): \(error.reason)")
      }
    }
    throw PluginError(
      .failedPrecondition,
      "\(card.link.name) cannot cut off its virtual function \(index) (\(refusals.joined(separator: "; ")))")
  }

  func isCutOff(_ index: UInt32, of card: OwnCard) throws -> Bool {
    let settings = try functions.settings(of: index, on: card.link.index)
    return Self.fences(configuration.fenceVLAN).contains { settings[$0.kind] == $0 }
  }

  private static func fences(_ vlan: UInt16) -> [VirtualFunctionAttribute] {
    [.linkState(.disabled)]
      + [VLANTag(identifier: vlan).map { VirtualFunctionAttribute.vlan(.tag($0)) }].compactMap { $0 }
  }
}

extension VirtualFunctionSettings {
  /// These, and the others' where these say nothing.
  func over(_ others: VirtualFunctionSettings) -> VirtualFunctionSettings {
    VirtualFunctionSettings {
      $0.macAddress = macAddress ?? others.macAddress
      $0.vlan = vlan ?? others.vlan
      $0.maximumTransmitBitsPerSecond = maximumTransmitBitsPerSecond ?? others.maximumTransmitBitsPerSecond
      $0.minimumTransmitBitsPerSecond = minimumTransmitBitsPerSecond ?? others.minimumTransmitBitsPerSecond
      $0.spoofCheck = spoofCheck ?? others.spoofCheck
      $0.trust = trust ?? others.trust
      $0.linkState = linkState ?? others.linkState
      $0.rssQuery = rssQuery ?? others.rssQuery
    }
  }

  func asks(for kind: VirtualFunctionAttribute.Kind) -> Bool {
    switch kind {
    case .macAddress: macAddress != nil
    case .vlan: vlan != nil
    case .rate: maximumTransmitBitsPerSecond != nil || minimumTransmitBitsPerSecond != nil
    case .spoofCheck: spoofCheck != nil
    case .trust: trust != nil
    case .rssQuery: rssQuery != nil
    case .linkState: linkState != nil
    }
  }
}

extension VirtualFunctionAttribute.Kind {
  var words: String {
    switch self {
    case .macAddress: "MAC address"
    case .vlan: "VLAN"
    case .rate: "rate"
    case .spoofCheck: "spoof check"
    case .trust: "trust"
    case .rssQuery: "RSS query"
    case .linkState: "link state"
    }
  }
}
