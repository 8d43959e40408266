/* Two GPUs as NVIDIA's library would tell of them, for the real pynvml on a machine without a driver.
   The first takes 300 W and is held at its power limit; the second is hot and tells no energy. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { unsigned int pid; unsigned long long memory; unsigned int gpu, compute; } process;
typedef struct { unsigned long long reference, violation; } violation;
enum { GOOD = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };
static int first, second;
#define SECOND (device == (void *)&second)

int nvmlInitWithFlags(unsigned int flags) { return getenv("FAKE_NVML_BROKEN") ? 9 : GOOD; } /* no driver */
int nvmlShutdown(void) { return GOOD; }
const char *nvmlErrorString(int code) { return "an error"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return GOOD; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    *device = index ? &second : &first;
    return index < 2 ? GOOD : NOT_FOUND;
}

int nvmlDeviceGetHandleByUUID(const char *name, void **device) {
    *device = &second;
    return strcmp(name, "GPU-second") ? NOT_FOUND : GOOD;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int room) {
    strncpy(name, SECOND ? "NVIDIA Fake B" : "NVIDIA Fake A", room);
    return GOOD;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *millijoules = 300 * (now.tv_sec * 1000ULL + now.tv_nsec / 1000000);
    return SECOND ? NOT_SUPPORTED : GOOD;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) { *milliwatts = 300000; return GOOD; }
int nvmlDeviceGetClockInfo(void *device, int kind, unsigned int *mhz) { *mhz = kind == 1 ? 1500 : 2600; return GOOD; }
int nvmlDeviceGetMaxClockInfo(void *device, int kind, unsigned int *mhz) { *mhz = 1980; return GOOD; }

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    *reasons = SECOND ? 64 : 4;
    return GOOD;
}

int nvmlDeviceGetViolationStatus(void *device, int policy, violation *found) {
    found->reference = 0;
    found->violation = policy == 1 && SECOND ? 2000000000ULL : 0;
    return GOOD;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, process *found) {
    unsigned int room = *count;
    *count = SECOND ? 1 : 0;
    if (room < *count) return TOO_SMALL;
    if (SECOND) found[0] = (process){4242, 1 << 20, 0, 0};
    return GOOD;
}
