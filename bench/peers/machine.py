"""What figures are measured on: the processor, the versions, and how busy other programs kept it."""
import importlib.metadata
import os
import platform
import re
import resource

SETS = ["avx512f", "avx512_vnni", "avx512_bf16", "amx"]
PACKAGES = ["torch", "transformers", "onnxruntime", "openvino", "nncf", "tokenizers", "numpy"]


def processor(cpuinfo="/proc/cpuinfo"):
    """Name, family and instruction sets. One name can stand for several generations, which the family tells."""
    fields = {}
    if os.path.exists(cpuinfo):
        with open(cpuinfo, encoding="utf-8") as f:
            for line in f.read().split("\n\n")[0].splitlines():
                key, _, value = line.partition(":")
                fields[key.strip()] = value.strip()
    flags = fields.get("flags", "").split()
    has = lambda name: name in flags or name == "amx" and "amx_tile" in flags
    sets = [name for name in SETS if has(name)] or [name for name in ["avx2"] if has(name)]
    name = fields.get("model name") or platform.processor() or platform.machine()
    family = "-".join(fields[key] for key in ["cpu family", "model"] if key in fields)
    return {"name": name, "family": family, "sets": sets or [platform.machine()], "cores": os.cpu_count()}


def file_name(processor):
    """That of the processor's results: letters, digits and dashes."""
    parts = [processor["name"], processor["family"], *processor["sets"]]
    return re.sub("[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-") + ".jsonl"


def versions():
    """Those of the peers' packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


class Others:
    """The share of the processors' time that other programs use: 0 to 1. Where the machine is virtual, its host's too."""

    def __init__(self):
        self.before = self.now()

    def now(self):
        if not os.path.exists("/proc/stat"):
            return None
        with open("/proc/stat") as f:
            ticks = [int(x) for x in f.readline().split()[1:9]]
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        second = os.sysconf("SC_CLK_TCK")
        idle = ticks[3] + ticks[4]
        return sum(ticks) / second, (sum(ticks) - idle) / second, sum(u.ru_utime + u.ru_stime for u in usage)

    def share(self):
        """Since the object was made; None where the system does not tell."""
        if self.before is None:
            return None
        all, busy, own = (now - then for now, then in zip(self.now(), self.before))
        return round(max(0.0, (busy - own) / all), 3) if all else 0.0
