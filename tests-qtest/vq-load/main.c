/*
 * Put a load on a virtio-blk disk of QEMU at native speed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "load.h"
#include "output.h"

/* How often to look whether a load has ended by itself */
#define LOOK_US 10000
/* Seconds; a request that is overdue ends the load before */
#define FOREVER 1e9

/* libqtest tells how it starts QEMU, as a test should; stdout is for JSON */
static void print_nothing(const char *text)
{
}

static void G_NORETURN die(const char *message)
{
    fprintf(stderr, "vq-load: %s\n", message);
    exit(1);
}

/* Let @seconds pass, unless the load ends before */
static void wait_for(VqLoad *load, double seconds)
{
    int64_t end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    int64_t left;

    while (!vq_load_is_over(load) &&
           (left = end - g_get_monotonic_time()) > 0) {
        g_usleep(MIN(left, LOOK_US));
    }
}

/* Run @command and let it know where to look. Returns: NULL or an error */
static const char *run_during(const VqLoad *load, const char *command)
{
    const VqGuest *guest = vq_load_guest(load);
    g_autofree char *pid = g_strdup_printf("%d", guest->pid);
    g_autoptr(GString) tids = g_string_new(NULL);

    for (unsigned i = guest->num_threads > 1; i < guest->num_threads; i++) {
        g_string_append_printf(tids, "%s%d", tids->len ? "," : "",
                               guest->threads[i].tid);
    }
    g_setenv("VQ_QEMU", guest->config->qemu ?: "", true);
    g_setenv("VQ_QEMU_PID", pid, true);
    g_setenv("VQ_IOTHREAD_IDS", tids->str, true);
    return system(command) ? "the --during command failed" : NULL;
}

/* Returns: NULL or an error */
static const char *write_report(const VqLoad *load, const VqLoadConfig *config)
{
    g_autofree char *report = vq_load_report(load);

    if (config->repeat) {
        /* One line for each that was read */
        g_strdelimit(report, "\n", ' ');
        puts(report);
        fflush(stdout);
    } else if (g_str_equal(config->json, "-")) {
        fputs(report, stdout);
    } else {
        return vq_output_write(config->json, report);
    }
    return NULL;
}

static void print_requests(const VqLoad *load)
{
    uint64_t requests = 0;

    for (unsigned i = 0; i < vq_load_guest(load)->config->queues; i++) {
        requests += vq_load_stats(load, i)->requests;
    }
    printf("%" PRIu64 " requests were counted\n", requests);
}

/* Returns: NULL or an error */
static const char *run(VqLoad *load, const VqLoadConfig *config)
{
    const char *during_error = NULL;
    const char *error;

    vq_load_start(load);
    wait_for(load, config->warmup);
    vq_load_count(load);
    if (config->during) {
        during_error = run_during(load, config->during);
    } else {
        wait_for(load, config->requests ? FOREVER : config->seconds);
    }
    error = vq_load_stop(load);
    if (error || during_error) {
        return error ?: during_error;
    }
    if (config->json) {
        return write_report(load, config);
    }
    print_requests(load);
    return NULL;
}

static bool read_line(void)
{
    char line[16];

    return fgets(line, sizeof(line), stdin);
}

int main(int argc, char **argv)
{
    VqLoadConfig config = vq_load_config_parse(argc, argv);
    const char *error = NULL;
    char *new_error = NULL;
    VqLoad *load;

    g_set_print_handler(print_nothing);
    if (config.json && !g_str_equal(config.json, "-")) {
        new_error = vq_output_check(config.json);
        if (new_error) {
            die(new_error);
        }
    }
    load = vq_load_new(&config, &new_error);
    if (!load) {
        die(new_error);
    }
    if (config.repeat) {
        while (!error && read_line()) {
            error = run(load, &config);
        }
    } else {
        error = run(load, &config);
    }
    vq_load_free(load);
    if (error) {
        die(error);
    }
    return 0;
}
