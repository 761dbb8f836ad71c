extension Sysfs {
  /// Adapters, expanders, end devices and enclosures of now. Reading phys' error counters may ask an expander.
  public func sasTopology() -> SASTopology {
    let places = SASPlaces(self)
    return SASTopology(
      adapters: names(in: "class/sas_host").compactMap { adapter($0, places) }.sorted {
        $0.controller.number < $1.controller.number
      },
      expanders: names(in: "class/sas_expander").compactMap { expander($0, places) }.sorted { $0.address < $1.address },
      endDevices: names(in: "class/sas_end_device").compactMap { endDevice($0) }.sorted { $0.address < $1.address },
      enclosures: enclosures())
  }

  private func adapter(_ name: String, _ places: SASPlaces) -> SASAdapter? {
    guard let place = resolved("class/sas_host/\(name)"),
      let controller = scsiController(above: place.split(separator: "/"))
    else { return nil }
    let phys = phys(places.phys(of: name))
    return SASAdapter(
      controller: controller, addresses: addresses(of: name, phys, places),
      boardName: text("class/scsi_host/\(name)/board_name"),
      firmwareVersion: text("class/scsi_host/\(name)/version_fw"), phys: phys,
      ports: places.ports(of: name).map { port($0) })
  }

  /// As newer drivers tell, else those of its phys. Some drivers give a phy the address of what is attached to it.
  private func addresses(of name: String, _ phys: [SASPhy], _ places: SASPlaces) -> [SASAddress] {
    if let own = SASAddress(text("class/scsi_host/\(name)/host_sas_address") ?? "") { return [own] }
    let attached = Set(places.ports(of: name).compactMap { port($0).attached })
    var addresses: [SASAddress] = []
    for address in phys.compactMap(\.address) where !addresses.contains(address) && !attached.contains(address) {
      addresses.append(address)
    }
    return addresses
  }

  private func expander(_ name: String, _ places: SASPlaces) -> SASExpander? {
    guard let address = SASAddress(text("class/sas_device/\(name)/sas_address") ?? "") else { return nil }
    let node = "class/sas_expander/\(name)"
    return SASExpander(
      address: address, vendor: text("\(node)/vendor_id") ?? "", product: text("\(node)/product_id") ?? "",
      revision: text("\(node)/product_rev") ?? "", level: integer("\(node)/level"), phys: phys(places.phys(of: name)))
  }

  private func phys(_ names: [String]) -> [SASPhy] {
    names.map { phy($0) }.sorted { $0.identifier < $1.identifier }
  }

  private func phy(_ name: String) -> SASPhy {
    let node = "class/sas_phy/\(name)"
    return SASPhy(
      // The last number of the name is the same, should the attribute be gone by now.
      identifier: integer("\(node)/phy_identifier") ?? name.split(separator: ":").last.flatMap { UInt32($0) } ?? 0,
      address: SASAddress(text("\(node)/sas_address") ?? ""), port: linkName("\(node)/device/port"),
      isEnabled: text("\(node)/enable") != "0", negotiated: SASLinkRate(text("\(node)/negotiated_linkrate")),
      maximum: SASLinkRate(text("\(node)/maximum_linkrate")), errors: linkErrors(node))
  }

  private func linkErrors(_ node: String) -> SASLinkErrors? {
    guard let words: UInt32 = integer("\(node)/invalid_dword_count"),
      let disparity: UInt32 = integer("\(node)/running_disparity_error_count"),
      let synchronization: UInt32 = integer("\(node)/loss_of_dword_sync_count"),
      let resets: UInt32 = integer("\(node)/phy_reset_problem_count")
    else { return nil }
    return SASLinkErrors(
      invalidWords: words, disparityErrors: disparity, synchronizationLosses: synchronization, resetProblems: resets)
  }

  private func port(_ name: String) -> SASPort {
    let node = "class/sas_port/\(name)/device"
    let inside = names(in: node)
    let attached = inside.first { $0.hasPrefix("end_device-") || $0.hasPrefix("expander-") }
    return SASPort(
      name: name,
      phys: inside.filter { $0.hasPrefix("phy-") }.compactMap { $0.split(separator: ":").last.flatMap { UInt32($0) } }
        .sorted(), attached: attached.flatMap { SASAddress(text("class/sas_device/\($0)/sas_address") ?? "") })
  }

  private func endDevice(_ name: String) -> SASEndDevice? {
    let node = "class/sas_device/\(name)"
    guard let address = SASAddress(text("\(node)/sas_address") ?? ""), let place = resolved("\(node)/device"),
      let controller = scsiController(above: place.split(separator: "/"))
    else { return nil }
    let above = place.split(separator: "/").dropLast().reversed()
    let expander = above.first { $0.hasPrefix("expander-") }
    let protocols = text("\(node)/target_port_protocols") ?? ""
    return SASEndDevice(
      address: address, enclosure: SASAddress(text("\(node)/enclosure_identifier") ?? ""),
      bay: integer("\(node)/bay_identifier"),
      targetProtocols: protocols == "none" ? [] : protocols.split(separator: ",").map { String($0.drop { $0 == " " }) },
      port: above.first { $0.hasPrefix("port-") }.map(String.init),
      expander: expander.flatMap { SASAddress(text("class/sas_device/\($0)/sas_address") ?? "") },
      controller: controller, unitAddresses: unitAddresses(below: "\(node)/device"))
  }

  private func unitAddresses(below node: String) -> [String] {
    names(in: node).filter { $0.hasPrefix("target") }.flatMap { target in
      names(in: "\(node)/\(target)").filter { $0.split(separator: ":").count == 4 }
    }
  }
}

/// Which phys and ports are whose, by the directory that they lie in.
private struct SASPlaces {
  private var physByOwner: [String: [String]] = [:]
  private var portsByOwner: [String: [String]] = [:]

  init(_ sysfs: Sysfs) {
    for (directory, keep) in [("class/sas_phy", \SASPlaces.physByOwner), ("class/sas_port", \SASPlaces.portsByOwner)] {
      for name in sysfs.names(in: directory) {
        // …/host0/phy-0:3/sas_phy/phy-0:3, or …/expander-0:0/phy-0:0:3/sas_phy/phy-0:0:3.
        guard let owner = sysfs.resolved("\(directory)/\(name)")?.split(separator: "/").dropLast(3).last else {
          continue
        }
        self[keyPath: keep][String(owner), default: []].append(name)
      }
    }
  }

  func phys(of owner: String) -> [String] { physByOwner[owner] ?? [] }
  func ports(of owner: String) -> [String] { portsByOwner[owner] ?? [] }
}
